"""Parts of a training set: a share of every class, or some classes only."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Subset

from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_at_least
from mmbss.registry import DATASETS


def stratified_rows(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draw the same share of every class.

    Args:
        labels: (N,) class of each sample.
        fraction: Share of every class to keep, in (0, 1]; counts are rounded.
        seed: Seed of the draw. With one seed a smaller share is part of a larger one.

    Returns:
        Sorted int64 row numbers.

    Raises:
        ConfigError: If the fraction is out of its range or leaves a class without a sample.

    Examples:
        >>> stratified_rows(np.array([0, 0, 1, 1, 1, 1]), 0.5, seed=0).size
        3
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f'fraction must be in (0, 1], got {fraction}')
    classes, counts = np.unique(labels, return_counts=True)
    if not len(counts):
        raise ConfigError('there are no samples to keep a share of')
    if round(fraction * counts.min()) == 0:
        label, count = classes[counts.argmin()], counts.min()
        raise ConfigError(
            f'fraction {fraction} leaves none of the {count} samples of class {label}: take '
            f'more than {1 / (2 * count):.3g}'
        )
    generator = np.random.default_rng(seed)
    kept = []
    for label in classes:
        rows = generator.permutation(np.flatnonzero(labels == label))
        kept.append(rows[: round(fraction * len(rows))])
    return np.sort(np.concatenate(kept))


def spread_rows(size: int, count: int) -> list[int]:
    """So many rows of ``size``, evenly spread, since the classes of a dataset may be in order.

    Examples:
        >>> spread_rows(10, 4), spread_rows(2, 4)
        ([0, 3, 6, 9], [0, 1])
    """
    return np.linspace(0, size - 1, min(count, size)).round().astype(int).tolist()


class RowSubset(Subset):
    """Some rows of a mmpretrain dataset, which itself still looks like one.

    Args:
        dataset: A dataset of mmpretrain, or its config.
    """

    dataset: Any

    def __init__(self, dataset: Any) -> None:
        dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        dataset.full_init()
        super().__init__(dataset, self.choose_rows(_labels(dataset)).tolist())

    def choose_rows(self, labels: np.ndarray) -> np.ndarray:
        """Row numbers to keep, from the (N,) labels of all."""
        raise NotImplementedError

    def full_init(self) -> None:
        """Do nothing: all is loaded; other wrappers call it."""

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples of a batch, from the dataset in one go where it offers that."""
        rows = [self.indices[index] for index in indices]
        whole_batch = getattr(self.dataset, '__getitems__', None)
        return whole_batch(rows) if whole_batch else [self.dataset[row] for row in rows]

    @property
    def metainfo(self) -> dict[str, Any]:
        """Meta information of the whole dataset; all classes keep their numbers."""
        return self.dataset.metainfo

    def get_data_info(self, index: int) -> dict[str, Any]:
        """See mmengine's ``BaseDataset``."""
        return self.dataset.get_data_info(self.indices[index])

    def get_cat_ids(self, index: int) -> list[int]:
        """Class of one sample, as a list of one."""
        return self.dataset.get_cat_ids(self.indices[index])

    def get_gt_labels(self) -> np.ndarray:
        """(N,) class of each sample."""
        return _labels(self.dataset)[self.indices]


@DATASETS.register_module()
class StratifiedSubset(RowSubset):
    """Keeps the same share of every class; see :func:`stratified_rows`.

    Args:
        dataset: A dataset of mmpretrain, or its config.
        fraction: Share of every class to keep, in (0, 1].
        seed: Which samples are kept depends on this alone, not on the seed of the training.
        keeps_labels: Whether the samples that are given have their labels. Without them they are
            as images that nobody has labelled, from which a student can learn by its teacher.

    Raises:
        ConfigError: If the fraction is out of its range or leaves a class without a sample.
    """

    def __init__(
        self, dataset: Any, fraction: float = 1.0, seed: int = 0, keeps_labels: bool = True
    ) -> None:
        self.fraction = fraction
        check_at_least(self, 0, seed=seed)
        self.seed = seed
        self.keeps_labels = keeps_labels
        super().__init__(dataset)

    def __getitem__(self, index: int) -> Any:
        """A sample."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples of a batch; see :class:`RowSubset`."""
        samples = super().__getitems__(indices)
        if not self.keeps_labels:
            for sample in samples:
                del sample['data_samples'].gt_label
        return samples

    def choose_rows(self, labels: np.ndarray) -> np.ndarray:
        """See :func:`stratified_rows`."""
        return stratified_rows(labels, self.fraction, self.seed)


@DATASETS.register_module()
class ClassSubset(RowSubset):
    """Keeps, or drops, some classes; the others keep their numbers.

    Args:
        dataset: A dataset of mmpretrain, or its config.
        keep: Class numbers to keep.
        drop: Class numbers to drop; exactly one of the two is given.

    Raises:
        ConfigError: If both or none are given, the dataset lacks one of the classes, or no
            sample is left.
    """

    def __init__(
        self,
        dataset: Any,
        keep: Sequence[int] | None = None,
        drop: Sequence[int] | None = None,
    ) -> None:
        if (keep is None) == (drop is None):
            raise ConfigError('ClassSubset: give the classes either to keep or to drop')
        if isinstance(given := drop if keep is None else keep, int | str):
            raise ConfigError(f'ClassSubset: give a list of classes, got {given!r}')
        self.keep = keep
        self.drop = drop
        super().__init__(dataset)

    def choose_rows(self, labels: np.ndarray) -> np.ndarray:
        """Rows whose class is kept."""
        classes = list(self.keep if self.keep is not None else self.drop or [])
        present = np.unique(labels).tolist()
        absent = sorted(set(classes) - set(present))
        if absent:
            raise ConfigError(f'ClassSubset: the dataset has no class {absent}, only {present}')
        chosen = np.isin(labels, classes)
        rows = np.flatnonzero(chosen if self.keep is not None else ~chosen)
        if not len(rows):
            raise ConfigError('ClassSubset: no class is left')
        return rows


def _labels(dataset: Any) -> np.ndarray:
    try:
        if hasattr(dataset, 'get_gt_labels'):
            labels = dataset.get_gt_labels()
        else:  # a dataset around others, such as ConcatDataset
            labels = [dataset.get_data_info(row)['gt_label'] for row in range(len(dataset))]
        if any(np.ndim(label) for label in labels):
            raise ConfigError(
                f'{type(dataset).__name__} has several labels a sample, by which no subset can be '
                'chosen: leave the subset out'
            )
        return np.asarray(labels)
    except KeyError as error:
        raise ConfigError(
            f'{type(dataset).__name__} has no labels, by which a subset is chosen: leave the '
            'subset out, or give labels'
        ) from error
