"""Augmentation of whole batches of small images, on the device that trains."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.registry import MODELS


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Shift each image by up to ``padding`` pixels, filling with zeros (black).

    Args:
        images: (N, C, H, W), any dtype.
        padding: Pixels added on every side before an H x W window is cut out at random.

    Returns:
        (N, C, H, W), same dtype.
    """
    count, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    # a view of all windows; picking one of each image copies whole rows, not single pixels
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    top, left = torch.randint(2 * padding + 1, (2, count), device=images.device)
    return windows[torch.arange(count, device=images.device), :, top, left]


def random_flip(images: Tensor, probability: float) -> Tensor:
    """Mirror each (C, H, W) image of a batch left to right with the given probability."""
    flipped = torch.rand(len(images), device=images.device) < probability
    return torch.where(flipped.view(-1, 1, 1, 1), images.flip(-1), images)


@MODELS.register_module()
class AugmentingDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's data preprocessor, which also crops and flips training batches.

    One call a batch instead of one an image: for images of 32 x 32 pixels the work a call takes
    otherwise outweighs the pixels. All images of a batch must have one size.

    Args:
        crop_padding: Padding of :func:`random_crop` in pixels; 0 does not crop.
        flip_probability: Probability of :func:`random_flip`.
        **kwargs: Arguments of mmpretrain's ``ClsDataPreprocessor``.

    Raises:
        ConfigError: If a parameter is out of its range.
    """

    def __init__(self, crop_padding: int = 0, flip_probability: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if crop_padding < 0 or not 0 <= flip_probability <= 1:
            raise ConfigError(
                'AugmentingDataPreprocessor: crop_padding must be at least 0 and '
                f'flip_probability in [0, 1], got {crop_padding} and {flip_probability}'
            )
        self.crop_padding = crop_padding
        self.flip_probability = flip_probability

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Augment if ``training``, then normalise; see mmpretrain's ``ClsDataPreprocessor``."""
        inputs = data['inputs']
        if not isinstance(inputs, Tensor) and (training or _have_one_shape(inputs)):
            # one copy to the device instead of one an image
            data = dict(data, inputs=torch.stack(list(inputs)))
        if training:
            images = self.cast_data(data['inputs'])
            if self.crop_padding:
                images = random_crop(images, self.crop_padding)
            if self.flip_probability:
                images = random_flip(images, self.flip_probability)
            data = dict(data, inputs=images)
        return super().forward(data, training)

    def cast_data(self, data: Any) -> Any:
        """Move data to the device; the labels of a batch in one copy instead of one a sample."""
        if not (isinstance(data, list) and data and all(map(_has_label_only, data))):
            return super().cast_data(data)
        labels = torch.stack([sample.gt_label for sample in data])
        if labels.device != self.device:
            for sample, label in zip(data, labels.to(self.device), strict=True):
                sample.set_gt_label(label)
        return data


def _have_one_shape(images: Sequence[Tensor]) -> bool:
    return len({image.shape for image in images}) == 1


def _has_label_only(data: Any) -> bool:
    return isinstance(data, DataSample) and data.keys() == ['gt_label'] and len(data.gt_label) == 1
