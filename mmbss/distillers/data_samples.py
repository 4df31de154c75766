"""What the samples of a batch say: their labels, and whether their images can be used."""

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbss.engine.errors import ConfigError


def class_labels(data_samples: list[DataSample]) -> Tensor:
    """(N,) int64 class of each sample; of a mixture (mixup, soft labels) the largest share."""
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples]).argmax(dim=1)
    return torch.cat([sample.gt_label for sample in data_samples])


def labels_are_hard(data_samples: list[DataSample]) -> bool:
    """Whether each sample has exactly one class, and no share of another."""
    if len(class_labels(data_samples)) != len(data_samples):
        return False
    return 'gt_score' not in data_samples[0] or all(
        sample.gt_score.max() >= 1 and sample.gt_score.sum() <= 1 for sample in data_samples
    )


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
