"""The handwritten digits that ship with scikit-learn."""

from functools import cache
from typing import Any

import numpy as np

from mmbss.datasets.array_dataset import ArrayDataset
from mmbss.engine.extras import named_extra
from mmbss.engine.ranges import check_choice
from mmbss.registry import DATASETS

TEST_SHARE = 0.3


@cache
def read_digits() -> dict[str, dict[str, np.ndarray]]:
    """``images`` (N, 8, 8) uint8 in [0, 255] and ``labels`` (N,) of each split; slow to read."""
    with named_extra():
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    digits = load_digits()
    # the source has 17 grey levels, 0 to 16
    images, labels = np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target
    parts = train_test_split(
        np.arange(len(labels)), test_size=TEST_SHARE, stratify=labels, random_state=0
    )
    return {
        split: dict(images=images[rows], labels=labels[rows])
        for split, rows in zip(('train', 'test'), parts, strict=True)
    }


@DATASETS.register_module()
class Digits(ArrayDataset):
    """1,797 grey images of 8 x 8 pixels (Alpaydin and Kaynak 1998, UCI), ten classes.

    Real data that needs no download. scikit-learn ships one set; the split into 1,257 training
    and 540 test images is stratified by class and always the same.

    Args:
        split: ``'train'`` or ``'test'``.
        **kwargs: Arguments of :class:`ArrayDataset` other than ``data_file``.

    Raises:
        ConfigError: If there is no such split.

    Examples:
        >>> len(Digits('train')), len(Digits('test'))
        (1257, 540)
    """

    METAINFO = dict(classes=tuple('0123456789'))

    def __init__(self, split: str, **kwargs: Any) -> None:
        check_choice(self, ('train', 'test'), split=split)
        self.split = split
        super().__init__(data_file='scikit-learn digits', **kwargs)

    def load_arrays(self) -> dict[str, np.ndarray]:
        """See :func:`read_digits`."""
        return read_digits()[self.split]
