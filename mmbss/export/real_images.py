"""Real images of a config's test data, as pixels, for the check of what is exported."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn

from mmbss.engine.class_names import as_names
from mmbss.engine.errors import ConfigError, naming
from mmbss.engine.pipelines import reads_files, turns_channels
from mmbss.engine.pixel_range import check_pixels
from mmbss.report.networks import loader_of_tests


@dataclass(frozen=True)
class RealImages:
    """Images as a student gets them before its normalisation.

    Attributes:
        pixels: (N, C, H, W) float32, channels in the network's own order.
        classes: Names of the classes that the data set gives, None where it gives none.
        stored: Height and width that all of them have before the pipeline, None where they have
            several sizes, or nobody knows it.
    """

    pixels: Tensor
    classes: tuple[str, ...] | None
    stored: tuple[int, int] | None = None


def read_real_images(
    config: Config, preprocessor: nn.Module, count: int, one_size: bool = True
) -> RealImages:
    """Read test images, evenly spread over the data set.

    Args:
        config: A whole config with a ``test_dataloader`` or a ``val_dataloader``.
        preprocessor: The student's data preprocessor, which may swap the colour channels.
        count: How many at most.
        one_size: Whether several sizes are a mistake; else those of the first one's are taken.

    Raises:
        ConfigError: If there are none, they have not one size, or pictures are no pixels of
            [0, 255].
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'), naming('test images'):
        loader = dict(loader_of_tests(config, count), num_workers=0, persistent_workers=False)
        batches = Runner.build_dataloader(loader, seed=0)
        images, stored = [], set()
        for batch in batches:
            images += [*batch['inputs']]
            stored |= {sample.metainfo.get('ori_shape') for sample in batch['data_samples']}
    if stored == {None}:  # arrays, which no transform has read
        stored = {array_size(batches.dataset.dataset)}
    sizes = sorted({tuple(image.shape) for image in images})
    if len(sizes) > 1 and one_size:
        raise ConfigError(
            f'the test images have {len(sizes)} sizes, such as {sizes[0]} and {sizes[-1]}, but an '
            'exported student takes one: let the pipeline of test_dataloader resize or crop them'
        )
    pixels = torch.stack([each for each in images if each.shape == images[0].shape]).float()
    if pixels.shape[1] in (1, 3):  # others are no pictures, and have units of their own
        check_pixels(pixels, (0.0, 255.0), 'test_dataloader')
    if swaps_channels(preprocessor, pixels.shape[1]):
        pixels = pixels.flip(1)
    classes = getattr(batches.dataset, 'metainfo', {}).get('classes')
    return RealImages(
        pixels.contiguous(),
        as_names(classes),
        stored.pop() if len(stored) == 1 else None,
    )


def array_size(dataset: Any) -> tuple[int, int] | None:
    """Height and width of the arrays of a data set, None where it holds none."""
    info = dataset.get_data_info(0) if hasattr(dataset, 'get_data_info') else {}
    return info['img'].shape[:2] if 'img' in info else None


def swaps_channels(preprocessor: nn.Module, count: int) -> bool:
    """Whether a data preprocessor turns the order of so many channels."""
    return count == 3 and bool(getattr(preprocessor, 'to_rgb', False))


def channels_of(
    transforms: Iterable[dict[str, Any]], preprocessor: nn.Module, count: int, given: str | None
) -> tuple[str, str | None]:
    """In which order a network wants its channels, and what was assumed of it, if anything.

    Args:
        transforms: The pipeline of its test images.
        preprocessor: Its data preprocessor.
        count: Number of channels.
        given: What the user says.

    Raises:
        ConfigError: If what the user says contradicts the config.
    """
    known: str | None = None
    transforms = [*transforms]
    if count != 3:
        known = 'gray' if count == 1 else 'data'
    elif reads_files(transforms):
        is_rgb = swaps_channels(preprocessor, count) != turns_channels(transforms)
        known = 'rgb' if is_rgb else 'bgr'
    if known is not None:
        if given not in (None, known):
            raise ConfigError(f'--channels {given}: by the config they are {known}: leave it out')
        return known, None
    if given is not None:
        return given, None
    order, other, turned = 'rgb', 'bgr', ''
    if swaps_channels(preprocessor, count):
        order, other, turned = 'bgr', 'rgb', ', which to_rgb=True has made BGR of for the network'
    return order, (
        f'the colour channels are taken to be RGB{turned}: the data set gives arrays and does not '
        f'say it; tools/export.py --channels {other} says otherwise'
    )
