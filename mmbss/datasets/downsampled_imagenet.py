"""ImageNet at 32 x 32 pixels or less or more (Chrabaszcz et al. 2017, arXiv 1707.08819)."""

from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from mmbss.datasets.array_dataset import ArrayDataset
from mmbss.engine.errors import ConfigError, MissingFileError, one_line
from mmbss.engine.files.arrays import read_arrays
from mmbss.engine.files.plain_pickle import Reader
from mmbss.engine.files.plain_values import RefusedPickleError, Storage
from mmbss.engine.files.regular import opened
from mmbss.engine.ranges import check_choice
from mmbss.registry import DATASETS

#: Names of the files of a split, each a pickle, or else an ``.npz`` file with that ending.
FILES = dict(train=[f'train_data_batch_{number}' for number in range(1, 11)], val=['val_data'])
#: Says in lines such as ``n02119789 1 kit_fox`` which class a number stands for.
CLASSES_FILE = 'map_clsloc.txt'


@DATASETS.register_module()
class DownsampledImageNet(ArrayDataset):
    """The 1,000 classes of ImageNet as arrays, in one of the sizes 8, 16, 32 and 64.

    Reads the published files, pickles of a dict of arrays or ``.npz`` files; of a pickle nothing
    runs, whatever else it holds is refused. The order of the classes is not that of ImageNet
    elsewhere: they are called by their WordNet ids if ``map_clsloc.txt`` lies beside the files, and
    have no names otherwise. Reading takes a while: ``tools/dataset_to_npz.py
    mmbss.DownsampledImageNet`` does it once.

    Args:
        data_root: Folder of the files.
        split: ``'train'`` or ``'val'``.
        **kwargs: Arguments of :class:`ArrayDataset` other than ``data_file``.

    Raises:
        MissingFileError: If a file is not there.
        ConfigError: If there is no such split, or a file holds anything else.
    """

    SPLITS = tuple(FILES)

    def __init__(self, data_root: str, split: str, **kwargs: Any) -> None:
        check_choice(self, self.SPLITS, split=split)
        self.split = split
        super().__init__(data_file=data_root, **kwargs)

    def load_arrays(self) -> dict[str, np.ndarray]:
        """``images`` (N, H, W, 3) uint8 in RGB, ``labels`` (N,) and, if known, ``classes``."""
        root = Path(self.data_file)
        batches = [read_batch(_found(root / name)) for name in FILES[self.split]]
        arrays = dict(
            images=np.concatenate([images for images, _ in batches]),
            labels=np.concatenate([labels for _, labels in batches]),
        )
        if (root / CLASSES_FILE).is_file():
            arrays['classes'] = read_classes(root / CLASSES_FILE)
        return arrays


def _found(path: Path) -> Path:
    for each in (path, path.with_name(f'{path.name}.npz')):
        if each.is_file():
            return each
    raise MissingFileError(
        f'no file {str(path)!r}, nor one with .npz at its end: unpack all parts of the downsampled '
        'images of https://image-net.org/download-images and give their folder as data_root'
    )


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) uint8 and labels (N,) from 0 of one of the published files.

    Raises:
        ConfigError: If it holds anything else.
    """
    content = read_arrays(path) if path.suffix == '.npz' else _read_pickle(path)
    try:
        data, labels = np.asarray(content['data']), np.asarray(content['labels'], np.int64)
        side = isqrt(data.shape[1] // 3)
        if data.dtype != np.uint8 or labels.min() < 1:
            raise ValueError('pixels must be whole numbers of [0, 255], and labels begin at 1')
        images = data.reshape(len(labels), 3, side, side).transpose(0, 2, 3, 1)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(
            f'{path} is no file of downsampled images, with rows of red, green and blue pixels in '
            f"'data' and classes from 1 in 'labels' ({one_line(error)})"
        ) from error
    return images, labels - 1


def _read_pickle(path: Path) -> dict[str, Any]:
    def no_storage(*_: Any) -> Storage:
        raise RefusedPickleError('it holds tensors')

    with opened(path) as (file, size):
        try:
            content = Reader(no_storage, size).read(file)
        except RefusedPickleError as error:
            raise ConfigError(f'cannot read {path}: {one_line(error)}') from error
    if not isinstance(content, dict):
        raise ConfigError(f'cannot read {path}: it holds a {type(content).__name__}, no dict')
    return content


def read_classes(path: Path) -> np.ndarray:
    """WordNet ids of the classes in the order of their numbers.

    Raises:
        ConfigError: If a line is none, or a number is left out.
    """
    names = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        name, _, rest = line.partition(' ')
        index = rest.partition(' ')[0]
        if not index.isdecimal():
            raise ConfigError(f'{path}, line {number}: {line!r} is not like n02119789 1 kit_fox')
        names[int(index)] = name
    if sorted(names) != list(range(1, len(names) + 1)):
        raise ConfigError(f'{path} leaves numbers of classes out, or has them twice')
    return np.array([names[index] for index in sorted(names)])
