"""Say which archive to put where if a dataset is not there and cannot be downloaded.

Cause: mmpretrain's CIFAR and MNIST datasets end with the error of the network, of a checksum, or an
assertion, of which none says that an archive from elsewhere would do.
"""

import functools
from typing import Any

from mmbss.engine.errors import FileError, one_line


def repair(datasets: Any) -> None:
    """Explain the errors of the datasets that download themselves, and of those derived of them."""
    for kind in (datasets.CIFAR10, datasets.MNIST):
        kind.load_data_list = _explained(kind.load_data_list)


def _explained(original: Any) -> Any:
    @functools.wraps(original)
    def load_data_list(self: Any) -> list[dict[str, Any]]:
        try:
            return original(self)
        except (AssertionError, EOFError, OSError, RuntimeError) as error:
            kind, root = type(self), self.data_prefix['root']
            raise FileError(
                f'{kind.__name__} is not whole in {root!r} and could not be downloaded '
                f'({one_line(error)}): put {archive_of(kind)} there yourself, which is then '
                'unpacked, or take data that are here: an .npz file with mmbss.ArrayDataset '
                "(tools/dataset_to_npz.py writes one), or dict(type='mmbss.Digits', split='train')"
            ) from error

    return load_data_list


def archive_of(kind: Any) -> str:
    """What a dataset of mmpretrain downloads, and from where."""
    files: Any = getattr(kind, 'filename', None)
    if files is None:  # MNIST and the like name several
        files = ', '.join(name for name, _ in [*kind.train_list, *kind.test_list])
    return f'{files} of {getattr(kind, "url", None) or kind.url_prefix}'
