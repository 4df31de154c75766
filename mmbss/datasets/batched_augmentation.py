"""Augmentation of whole batches of small images, on the device that trains."""

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import Tensor

from mmbss.registry import MODELS


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Shift each image by up to ``padding`` pixels, filling with zeros (black).

    Args:
        images: (N, C, H, W), any dtype.
        padding: Pixels added on every side before an H x W window is cut out at random.

    Returns:
        (N, C, H, W), same dtype.
    """
    count, channels, height, width = images.shape
    device = images.device
    padded = F.pad(images, (padding,) * 4)
    top, left = torch.randint(2 * padding + 1, (2, count, 1), device=device)
    rows = top + torch.arange(height, device=device)
    columns = left + torch.arange(width, device=device)
    image = torch.arange(count, device=device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=device).view(1, -1, 1, 1)
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


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
        ValueError: If a parameter is out of its range.
    """

    def __init__(self, crop_padding: int = 0, flip_probability: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if crop_padding < 0 or not 0 <= flip_probability <= 1:
            raise ValueError(
                'AugmentingDataPreprocessor: crop_padding must be at least 0 and '
                f'flip_probability in [0, 1], got {crop_padding} and {flip_probability}'
            )
        self.crop_padding = crop_padding
        self.flip_probability = flip_probability

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Augment if ``training``, then normalise; see mmpretrain's ``ClsDataPreprocessor``."""
        if training:
            inputs = self.cast_data(data['inputs'])
            images = inputs if isinstance(inputs, Tensor) else torch.stack(inputs)
            if self.crop_padding:
                images = random_crop(images, self.crop_padding)
            if self.flip_probability:
                images = random_flip(images, self.flip_probability)
            data = dict(data, inputs=images)
        return super().forward(data, training)
