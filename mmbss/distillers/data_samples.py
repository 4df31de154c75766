"""What the samples of a batch say: their labels, and whether their images can be used."""

from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError


def class_labels(data_samples: list[DataSample]) -> Tensor:
    """(N,) int64 class of each sample; of a mixture (mixup, soft labels) the largest share."""
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples]).argmax(dim=1)
    return torch.cat([sample.gt_label for sample in data_samples])


def labels_are_hard(data_samples: list[DataSample]) -> bool:
    """Whether each sample has exactly one class, and no share of another."""
    if not has_labels(data_samples) or len(class_labels(data_samples)) != len(data_samples):
        return False
    if 'gt_score' not in data_samples[0]:
        return True
    # one question, since each waits for a GPU
    scores = torch.stack([sample.gt_score for sample in data_samples])
    return bool(((scores.amax(dim=1) >= 1) & (scores.sum(dim=1) <= 1)).all())


def has_labels(data_samples: list[DataSample]) -> bool:
    """Whether the samples of a batch have labels.

    Raises:
        ConfigError: If only some have, or of another kind than the rest.
    """
    labelled = sum('gt_label' in sample or 'gt_score' in sample for sample in data_samples)
    scored = sum('gt_score' in sample for sample in data_samples)
    if 0 < scored < len(data_samples) == labelled:
        raise ConfigError(
            f'{scored} of {len(data_samples)} images of a batch have a gt_score, the others a '
            'gt_label alone: give all of them the same'
        )
    if 0 < labelled < len(data_samples):
        raise ConfigError(
            f'only {labelled} of {len(data_samples)} images of a batch have labels: leave the '
            'labels of all of them out, or train on the labelled ones'
        )
    return labelled > 0


def refuse_partly_labelled(
    preprocessor: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Refuse a training batch of which only some samples have labels; a forward pre-hook.

    Raises:
        ConfigError: See :func:`has_labels`.
    """
    data, training = (*args, kwargs.get('training', False))[:2]
    if training and isinstance(data, dict) and data.get('data_samples'):
        has_labels(data['data_samples'])


def check_finite(inputs: Tensor) -> None:
    """Refuse (N, ...) images that hold NaN or infinity.

    Raises:
        ConfigError: Naming their rows in the batch.
    """
    finite = inputs.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        rows = (~finite).nonzero().flatten().tolist()
        raise ConfigError(
            f'{len(rows)} of {len(inputs)} images hold NaN or infinity (rows {rows[:5]} of the '
            "batch): check the data and the data preprocessor's std"
        )
