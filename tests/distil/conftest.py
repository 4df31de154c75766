"""Folders of small images."""

import numpy as np
import pytest
from PIL import Image

from mmbss.distil.images import ImageFile


def picture(seed, size=8, mode='RGB'):
    generator = np.random.default_rng(seed)
    shape = (size, size) if mode == 'L' else (size, size, 3)
    return Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8), mode)


@pytest.fixture(scope='session')
def make_picture():
    """Draw a picture of noise that belongs to a seed."""
    return picture


@pytest.fixture
def write_images(tmp_path):
    """Write so many different pictures into each folder below one; gives that."""

    def write(counts, size=8, mode='RGB', root=tmp_path / 'images'):
        for number, (folder, count) in enumerate(counts.items()):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for row in range(count):
                picture(1000 * number + row, size, mode).save(root / folder / f'{row:03}.png')
        return root

    return write


@pytest.fixture(scope='session')
def image_file():
    """Make what is known of a file that shows ``shows``."""

    def make(path, label, split='train', shows=None):
        return ImageFile(path, label, split, width=8, height=8, digest=str(shows or path))

    return make
