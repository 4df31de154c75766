"""Write a dataset that lies in memory as .npz files, which mmbss.ArrayDataset reads.

    python tools/dataset_to_npz.py CIFAR10 data/cifar10

TYPE is a dataset of mmpretrain that takes a ``split`` and holds its images in memory, such as
CIFAR10, CIFAR100, MNIST or FashionMNIST. It is downloaded into OUT if it is not there yet; the
arrays go to OUT/train.npz and OUT/test.npz. mmbss.TinyImageNet and mmbss.DownsampledImageNet read
the published files, unpacked into OUT; their arrays go to OUT/train.npz and OUT/val.npz.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmbss.engine.commands import new_parser
from mmbss.engine.errors import ConfigError, naming, readable_errors, refuse


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument(
        'type', help='dataset of mmpretrain, such as CIFAR10, or mmbss.TinyImageNet'
    )
    parser.add_argument('out', type=Path, help='folder of the download and of the .npz files')
    return parser.parse_args()


def write_splits(dataset_type: str, folder: Path) -> Iterator[str]:
    """Write each split; gives a line about it.

    Raises:
        ConfigError: If there is no such dataset, it reads its images from files one by one, or
            there are such files already.
    """
    import numpy as np

    from mmbss.engine.files.atomic import whole_file
    from mmbss.registry import DATASETS

    if not re.fullmatch(r'\w+(\.\w+)?', dataset_type):
        raise ConfigError(f'{dataset_type!r} is no name of a dataset, such as CIFAR10')
    name = dataset_type if '.' in dataset_type else f'mmpretrain.{dataset_type}'
    splits = getattr(DATASETS.get(name), 'SPLITS', ('train', 'test'))
    refuse(
        f'{file} is there already: remove it, or choose another folder'
        for file in (folder / f'{split}.npz' for split in splits)
        if file.exists()
    )
    for split in splits:
        settings: dict[str, Any] = dict(
            data_root=str(folder), split=split, test_mode=split != 'train', pipeline=[]
        )
        with naming(dataset_type):
            dataset = DATASETS.build(dict(type=name, **settings))
        # what is serialized is read sample by sample, what is not without a copy
        samples = dataset.data_list or [dataset.get_data_info(row) for row in range(len(dataset))]
        if 'img' not in samples[0]:
            raise ConfigError(
                f'{dataset_type} does not hold its images in memory: use it in the config as it is'
            )
        images = np.stack([sample['img'] for sample in samples])
        labels = np.array([sample['gt_label'] for sample in samples], np.int64)
        arrays: dict[str, Any] = dict(images=images, labels=labels)
        if classes := dataset.metainfo.get('classes'):
            arrays['classes'] = np.array(classes, dtype=np.str_)
        target = folder / f'{split}.npz'
        with whole_file(target) as part, part.open('wb') as file:
            np.savez(file, **arrays)
        yield f'{target}: images {images.shape} {images.dtype}, {len(np.unique(labels))} classes'


def main() -> None:
    """Read the command line and write both splits."""
    args = parse_args()
    with readable_errors():
        for line in write_splits(args.type, args.out):
            print(line)


if __name__ == '__main__':
    main()
