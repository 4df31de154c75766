"""Mixup, CutMix and their like: whole batches that are mixed with themselves."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbss.distillers.data_samples import has_labels

#: Mixes (N, C, H, W) images and their (N, K) shares of the classes in the same way.
BatchAugments = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Later:
    """Stands in a data preprocessor for batch augmentations that are done later, or for none.

    Args:
        augments: What somebody else is to do; None for nothing.
    """

    def __init__(self, augments: BatchAugments | None) -> None:
        self.augments = augments

    def __call__(self, inputs: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Images as they are, and shares of the classes in numbers that can be learnt from."""
        return inputs, scores if scores.is_floating_point() else scores.float()


def take_over_mixing(preprocessor: Any, *_: Any) -> None:
    """Take the batch augmentations of a data preprocessor away from it; a forward pre-hook.

    They are then done by whoever asks for them, right after it and so with the same random
    numbers, but with the unmixed images at hand. The preprocessor goes on making shares of the
    classes out of labels. What mmpretrain's ``SwitchRecipeHook`` brings, or None where it ends the
    mixing, is taken in the same way.
    """
    augments = getattr(preprocessor, 'batch_augments', None)
    makes_shares = getattr(preprocessor, 'to_onehot', False)
    if isinstance(augments, Later) or (augments is None and not makes_shares):
        return
    preprocessor.batch_augments = Later(augments)
    preprocessor.to_onehot = True  # as the preprocessor does where it is given some to begin with


def mix(
    augments: BatchAugments, inputs: Tensor, data_samples: list[DataSample]
) -> tuple[Tensor, list[DataSample]]:
    """Mix the images of a batch, and their labels where they have any.

    Args:
        augments: Those that have been taken over.
        inputs: (N, C, H, W).
        data_samples: N samples, whose ``gt_score`` is mixed too.

    Returns:
        Images and samples; those that were given stay as they are.
    """
    images = inputs.clone()  # CutMix works in place
    if not has_labels(data_samples):
        return augments(images, images.new_zeros(len(images), 1))[0], data_samples
    scores = torch.stack([sample.gt_score for sample in data_samples])
    mixed, scores = augments(images, scores)
    samples = [copy.copy(sample) for sample in data_samples]
    for sample, score in zip(samples, scores, strict=True):
        sample.set_gt_score(score)
    return mixed, samples
