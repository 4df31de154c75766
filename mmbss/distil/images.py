"""One image file: whether it can be read, what it looks like, and what tells it from others."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import mmcv
from PIL import Image

from mmbss.engine.errors import one_line

#: Standard deviation of the pixels of an image, in levels of 255, below which it shows nothing.
FLAT = 4.0
#: How many times as long as wide an image may be: a training enlarges its short side.
LONG = 200


@dataclass(frozen=True)
class ImageFile:
    """What is known of an image file.

    Attributes:
        path: Below the folder of the data, with slashes.
        label: Name of its class.
        split: ``train``, ``val`` or ``test``.
        error: Why it cannot be used, '' where it can.
        width: In pixels, as it is seen: turned where its EXIF data say so.
        height: The same.
        is_grey: Whether all pixels are, in whatever mode they are stored.
        is_deep: Whether it has 16 bits a channel, of which a training reads the upper 8.
        is_flat: Whether it shows hardly more than one colour.
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
    is_flat: bool = False
    has_alpha: bool = False
    digest: str = ''


def read_image(root: Path, path: str, label: str, split: str) -> ImageFile:
    """Decode a file below a folder as trainings do; one that cannot be used says why in ``error``.

    Pillow says what is in it and what is wrong with it; pixels are those of OpenCV, which mmcv's
    ``LoadImageFromFile`` reads with: it knows fewer kinds of files, and turns images by their EXIF.
    """
    try:
        with Image.open(root / path) as image:
            # a JPEG that is cut off is found at an eighth of its size, which is quicker, too
            image.draft(image.mode, (1, 1))
            image.load()
            has_alpha = 'transparency' in image.info
            if image.mode[-1] in 'Aa':  # which may be opaque all over
                opacity: Any = image.getextrema()[-1]
                has_alpha = opacity[0] < 255
        content = (root / path).read_bytes()
        pixels = mmcv.imfrombytes(content, flag=cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        is_deep = pixels is not None and pixels.itemsize > 1
        if is_deep:
            pixels = mmcv.imfrombytes(content)
    except Exception as error:  # a damaged file makes the libraries fail in any way
        return ImageFile(path, label, split, one_line(error))
    if pixels is None:
        return ImageFile(path, label, split, 'OpenCV, which trainings read with, does not take it')
    height, width = pixels.shape[:2]
    if max(height, width) > LONG * min(height, width):
        problem = f'{width} x {height} pixels are more than {LONG} times as long as wide'
        return ImageFile(path, label, split, problem)
    return ImageFile(
        path,
        label,
        split,
        width=width,
        height=height,
        is_grey=bool((pixels == pixels[..., :1]).all()),
        is_deep=is_deep,
        is_flat=bool(cv2.meanStdDev(pixels)[1].max() < FLAT),
        has_alpha=has_alpha,
        digest=hashlib.sha256(f'{pixels.shape}'.encode() + pixels.tobytes()).hexdigest()[:24],
    )


def read_images(root: Path, files: Sequence[tuple[str, str, str]], threads: int) -> list[ImageFile]:
    """Decode files, each by path, class and split, several at the same time, in their order."""
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return list(pool.map(lambda each: read_image(root, *each), files))
