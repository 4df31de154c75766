"""One image file: whether it can be read, what it looks like, and what tells it from others."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmbss.engine.errors import one_line


@dataclass(frozen=True)
class ImageFile:
    """What is known of an image file.

    Attributes:
        path: Below the folder of the data, with slashes.
        label: Name of its class.
        split: ``train``, ``val`` or ``test``.
        error: Why it cannot be read, '' where it can.
        width: In pixels.
        height: In pixels.
        is_grey: Whether all pixels are, in whatever mode they are stored.
        is_deep: Whether it has 16 bits a channel, of which a training reads the upper 8.
        has_alpha: Whether it has transparency, which a training does not see.
        digest: Fingerprint of its decoded pixels: two files have the same if they show the same.
    """

    path: str
    label: str
    split: str = 'train'
    error: str = ''
    width: int = 0
    height: int = 0
    is_grey: bool = False
    is_deep: bool = False
    has_alpha: bool = False
    digest: str = ''


def read_image(root: Path, path: str, label: str, split: str) -> ImageFile:
    """Decode a file below a folder; one that cannot be read says why in ``error``."""
    try:
        with Image.open(root / path) as image:
            mode = image.mode
            if mode == 'F':
                return ImageFile(path, label, split, 'pixels are fractions: store 8 bits')
            has_alpha = 'A' in mode or 'transparency' in image.info
            is_deep = mode.startswith('I')
            pixels = np.asarray(image if is_deep else image.convert('RGB'))
    except Exception as error:  # a damaged file makes the library fail in any way
        return ImageFile(path, label, split, one_line(error))
    is_grey = pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())
    if is_grey and pixels.ndim == 3:
        pixels = pixels[..., 0]
    height, width = pixels.shape[:2]
    text = f'{pixels.shape} {pixels.dtype}'.encode()
    digest = hashlib.sha256(text + pixels.tobytes()).hexdigest()[:24]
    return ImageFile(path, label, split, '', width, height, is_grey, is_deep, has_alpha, digest)


def read_images(root: Path, files: Sequence[tuple[str, str, str]], threads: int) -> list[ImageFile]:
    """Decode files, each by path, class and split, several at the same time, in their order."""
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return list(pool.map(lambda each: read_image(root, *each), files))
