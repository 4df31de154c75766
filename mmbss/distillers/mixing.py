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


def take_over_mixing(preprocessor: Any) -> BatchAugments | None:
    """Take the batch augmentations of a data preprocessor away from it.

    They are then done by whoever has taken them, right after it and so with the same random
    numbers, but with the unmixed images at hand. The preprocessor goes on making shares of the
    classes out of labels.

    Returns:
        The augmentations, None where there are none.
    """
    augments = getattr(preprocessor, 'batch_augments', None)
    if augments is not None:
        preprocessor.batch_augments = None
    return augments


def mix(
    augments: BatchAugments, inputs: Tensor, data_samples: list[DataSample]
) -> tuple[Tensor, list[DataSample]]:
    """Mix the images of a batch, and their labels where they have any.

    Args:
        augments: What :func:`take_over_mixing` gives.
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
