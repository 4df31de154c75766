"""TinyImageNet as it is published: folders of JPEG files and a list of annotations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmbss.datasets.array_dataset import ArrayDataset
from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.engine.ranges import check_choice
from mmbss.registry import DATASETS

URL = 'http://cs231n.stanford.edu/tiny-imagenet-200.zip'


@DATASETS.register_module()
class TinyImageNet(ArrayDataset):
    """200 classes of ImageNet, 64 x 64 pixels: 500 training images each, and 50 for validation.

    Reads ``train/<class>/images/*.JPEG`` and ``val/images`` with ``val/val_annotations.txt``; the
    published test images have no labels. Classes are called by their WordNet ids, in sorted order,
    as in folders of images. Reading takes a while: ``tools/dataset_to_npz.py mmbss.TinyImageNet``
    does it once.

    Args:
        data_root: Folder of the unpacked archive.
        split: ``'train'`` or ``'val'``.
        **kwargs: Arguments of :class:`ArrayDataset` other than ``data_file``.

    Raises:
        MissingFileError: If images or annotations are not there.
        ConfigError: If there is no such split, an annotation is none, or an image cannot be read.
    """

    SPLITS = ('train', 'val')

    def __init__(self, data_root: str, split: str, **kwargs: Any) -> None:
        check_choice(self, self.SPLITS, split=split)
        self.split = split
        super().__init__(data_file=data_root, **kwargs)

    def load_arrays(self) -> dict[str, np.ndarray]:
        """``images`` (N, H, W, 3) uint8 in RGB, ``labels`` (N,) and ``classes``."""
        root = Path(self.data_file)
        classes = sorted(path.name for path in root.glob('train/*') if path.is_dir())
        files = _train_files(root, classes) if self.split == 'train' else _val_files(root, classes)
        if not files:
            raise MissingFileError(
                f'no images of TinyImageNet in {str(root / self.split)!r}: unpack {URL} and give '
                'its folder tiny-imagenet-200 as data_root'
            )
        return dict(
            images=_read_images([path for path, _ in files]),
            labels=np.array([label for _, label in files], np.int64),
            classes=np.array(classes),
        )


def _train_files(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    return [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted(root.glob(f'train/{name}/images/*.JPEG'))
    ]


def _val_files(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    annotations = root / 'val' / 'val_annotations.txt'
    if not annotations.is_file():
        return []
    labels = {name: label for label, name in enumerate(classes)}
    files = []
    for number, line in enumerate(annotations.read_text().splitlines(), start=1):
        name, _, rest = line.partition('\t')
        wanted = rest.partition('\t')[0]
        if wanted not in labels:
            raise ConfigError(
                f'{annotations}, line {number}: {wanted!r} is no class of the training images'
            )
        files.append((annotations.parent / 'images' / name, labels[wanted]))
    return files


def _read_images(paths: Sequence[Path]) -> np.ndarray:
    images: np.ndarray | None = None
    for row, path in enumerate(paths):
        # one that is grey gets three channels
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise ConfigError(f'cannot read the image {path}: unpack {URL} again')
        if images is None:
            images = np.empty((len(paths), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise ConfigError(
                f'{path} is {image.shape[1]} x {image.shape[0]} pixels, but the first image '
                f'{images.shape[2]} x {images.shape[1]}'
            )
        images[row] = image[..., ::-1]
    assert images is not None
    return images
