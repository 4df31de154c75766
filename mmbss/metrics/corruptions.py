"""Common corruptions of images, five severities each (Hendrycks and Dietterich, ICLR 2019).

Definitions and constants are those of CIFAR-10-C (arXiv 1903.12261), which are for images of 32 x
32 pixels: on larger ones the same blur and noise hurt less. Images are (N, C, H, W) float32 in
[0, 1], RGB or grey; a corrupted one may leave [0, 1].
"""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

#: Of severities 1 to 5: standard deviation of the noise, and of the blur in pixels; share of the
#: contrast that is left; what is added to the value of HSV; quality of the JPEG.
CONSTANTS = dict(
    gaussian_noise=(0.04, 0.06, 0.08, 0.09, 0.10),
    gaussian_blur=(0.4, 0.6, 0.7, 0.8, 1.0),
    contrast=(0.75, 0.5, 0.4, 0.3, 0.15),
    brightness=(0.05, 0.1, 0.15, 0.2, 0.3),
    jpeg=(80, 65, 58, 50, 40),
)


def corrupt(images: Tensor, kind: str, severity: int, seeds: Tensor) -> Tensor:
    """Corrupt images as they would be stored: rounded to 256 levels.

    Args:
        images: (N, C, H, W) float32 in [0, 1], C 1 or 3.
        kind: A key of ``CONSTANTS``.
        severity: From 1 to 5.
        seeds: (N,) int64, of the noise of each image, which does not depend on the others.

    Returns:
        (N, C, H, W) float32, multiples of 1/255 in [0, 1].
    """
    constant = CONSTANTS[kind][severity - 1]
    if kind == 'gaussian_noise':
        corrupted = images + constant * normal_noise(images, seeds)
    elif kind == 'gaussian_blur':
        width = 2 * round(4 * constant) + 1
        corrupted = transforms.gaussian_blur(images, [width, width], [constant, constant])
    elif kind == 'contrast':
        corrupted = torch.lerp(images.mean(dim=(2, 3), keepdim=True), images, constant)
    elif kind == 'brightness':
        corrupted = brighten(images, constant)
    else:
        corrupted = compress(images, int(constant))
    return round_to_pixels(corrupted)


def round_to_pixels(images: Tensor) -> Tensor:
    """The nearest of the 256 levels in [0, 1]."""
    return (images * 255).round().clamp(0, 255) / 255


def normal_noise(images: Tensor, seeds: Tensor) -> Tensor:
    """(N, C, H, W) standard normal numbers, those of each image from its (N,) int64 seed."""
    noise = [
        torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(seed))
        for seed in seeds.tolist()
    ]
    return torch.stack(noise).to(images)


def brighten(images: Tensor, added: float) -> Tensor:
    """Add to the value of HSV, the largest of R, G and B; hue and saturation stay.

    Examples:
        >>> import torch
        >>> brighten(torch.tensor([0.5, 0.25, 0.0]).view(1, 3, 1, 1), 0.3).flatten()
        tensor([0.8000, 0.4000, 0.0000])
    """
    value = images.amax(dim=1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    # black has neither hue nor saturation, and turns grey
    return torch.where(value > 0, images * (brighter / value), brighter)


def compress(images: Tensor, quality: int) -> Tensor:
    """Compress to JPEG and decompress."""
    decoded = []
    for image in (round_to_pixels(images) * 255).round().byte().cpu():
        pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
        with io.BytesIO() as file:
            Image.fromarray(pixels.numpy()).save(file, 'JPEG', quality=quality)
            decoded.append(torch.from_numpy(np.array(Image.open(file))))
    stacked = torch.stack(decoded).to(images) / 255
    return stacked.unsqueeze(1) if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2)
