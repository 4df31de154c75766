"""Image files in folders, by their endings, and what is wrong with one."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import mmcv
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from mmbss.engine.errors import FileError, one_line


def walk_images(begin: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder from one on, in the order of their names, those behind links too, but once.

    Hidden folders are not entered, nor are those that it lies in.

    Yields:
        The folder, the names of the images in it, and those of what is neither that nor entered.

    Raises:
        FileError: If a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise FileError(
            f'{error.filename}: {error.strerror}: give yourself the right to read it, or take it '
            'out of the images'
        ) from error

    seen = {*begin.resolve().parents}  # links may lead round in a circle
    for folder, folders, files in os.walk(begin, onerror=fail, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        hidden = sorted(each for each in folders if each[0] == '.')
        folders[:] = sorted({*folders} - {*hidden})
        images = [each for each in sorted(files) if is_image(each) and (real / each).is_file()]
        yield Path(folder), images, [*hidden, *sorted({*files} - {*images})]


def is_image(name: str) -> bool:
    """Whether a file is called like an image, and is not hidden."""
    return name[0] != '.' and name.lower().endswith(IMG_EXTENSIONS)


def opens_as_image(name: str) -> bool:
    """Whether Pillow opens files that are called so, and it is not hidden.

    Examples:
        >>> [opens_as_image(name) for name in ('a.GIF', 'a.jfif', 'a.pdf', 'a.h5', '.a.gif')]
        [True, True, False, False, False]
    """
    kind = Image.registered_extensions().get(Path(name).suffix.lower(), '')
    opens = kind in Image.OPEN and Image.MIME.get(kind, '').startswith('image/')
    return opens and name[0] != '.'


def why_unreadable(path: Path) -> str:
    """Why a file is no image that can be read, in words; '' where it is one.

    Pillow says it, since OpenCV, which mmcv's ``LoadImageFromFile`` reads with, has no words.
    """
    try:
        with Image.open(path) as image:
            image.load()
        pixels = mmcv.imfrombytes(path.read_bytes(), flag=cv2.IMREAD_UNCHANGED)
    except Exception as error:  # a damaged file makes the libraries fail in any way
        said = one_line(error)
        return said if path.name in said else f'{path}: {said}'
    return f'OpenCV, which pipelines read with, does not take {path}' if pixels is None else ''
