"""Whether the data of training and validation, teacher and student speak of the same classes.

Each of them is a side. What two sides say of the classes is compared wherever both say it.
"""

import reprlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbss.engine.class_names import Names, are_same, as_names
from mmbss.engine.errors import refuse

#: Samples whose labels are read where these do not lie in memory, spread evenly.
MOST_LABELS = 10_000
#: Images of which it is looked whether they are in the training as well, and the share that may be.
MOST_COMPARED, TOLERATED = 256, 0.05
#: How folders begin that hold no class: ``.ipynb_checkpoints``, ``__MACOSX``.
NO_CLASS = ('.', '__')


@dataclass(frozen=True)
class Side:
    """What one side says of the classes; None where it says nothing.

    Attributes:
        where: What to call it in a message: its path in the config.
        names: Names of the classes in their order.
        labels: Ascending labels that its samples have.
        of_whole: The same of the whole dataset where the side is a part of one.
        folders: Numbers of the folders that images were found in.
    """

    where: str
    names: Names | None = None
    labels: np.ndarray | None = None
    of_whole: np.ndarray | None = None
    folders: dict[str, int] | None = None


def side_of(dataset: Any, where: str) -> Side:
    """What a dataset says of its classes; it may be wrapped, or a part of another."""
    leaf = dataset
    while hasattr(leaf, 'dataset') or getattr(leaf, 'datasets', None):
        leaf = leaf.dataset if hasattr(leaf, 'dataset') else leaf.datasets[0]
    labels = labels_of(dataset)
    return Side(
        where,
        as_names((getattr(dataset, 'metainfo', None) or {}).get('classes')),
        labels,
        labels_of(leaf) if hasattr(dataset, 'dataset') else labels,
        _folders(leaf),
    )


def _folders(dataset: Any) -> dict[str, int] | None:
    """Numbers of the folders that images were found in, by names as :func:`as_names` has them."""
    folders = getattr(dataset, 'folder_to_idx', None)
    if not isinstance(folders, dict):
        return None
    return dict(zip(as_names([*folders]) or (), folders.values(), strict=True))


def labels_of(dataset: Any) -> np.ndarray | None:
    """Ascending labels of a dataset, None where it has none, or several a sample."""
    infos: Any = getattr(dataset, 'data_list', None)
    whole = getattr(getattr(dataset, 'dataset', None), 'data_list', None)
    if whole and hasattr(dataset, 'indices'):
        infos = [whole[row] for row in dataset.indices]
    if not infos:  # serialised, or a dataset around another one
        infos = (dataset.get_data_info(row) for row in _spread(len(dataset), MOST_LABELS))
    try:
        labels = np.asarray([info['gt_label'] for info in infos])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return np.unique(labels) if labels.ndim == 1 and labels.dtype.kind in 'iu' else None


def compare_sides(sides: Sequence[Side], count: int | None) -> None:
    """Refuse sides that contradict themselves, the model or each other.

    Args:
        sides: The first is that of the training, with which the others are compared.
        count: Classes of the model; None where that is not known.

    Raises:
        ConfigError: With a line for each contradiction.
    """
    trained, *others = sides
    problems = [*within(trained, count)]
    for side in others:
        # where both know the names, these tell more than their number
        is_named = None not in (trained.names, side.names)
        problems += [*within(side, None if is_named else count), *between(trained, side)]
    refuse(problems)


def doubts(sides: Sequence[Side]) -> Iterator[str]:
    """What may be wrong between sides, or may be meant."""
    trained, *others = sides
    for side in others:
        if trained.of_whole is None or side.labels is None:
            continue
        unseen = np.setdiff1d(side.labels, trained.of_whole).tolist()
        if unseen:
            yield (
                f'{side.where} has labels {reprlib.repr(unseen)}, of which {trained.where} has '
                'no sample'
            )


def doubts_of_overlap(trained: Any, other: Any, where: str) -> Iterator[str]:
    """Whether images to validate with are among those of the training.

    Args:
        trained: The dataset of the training.
        other: That of a validation.
        where: What to call it.
    """
    rows = [_spread(len(each), MOST_COMPARED) for each in (trained, other)]
    asked = [*_images(other, rows[1])]
    known = {*_images(trained, rows[0]), *_images(trained, _spread(len(trained), MOST_LABELS))}
    shared = sum(image in known for image in asked)
    # images that are all alike tell nothing
    if shared > TOLERATED * len(asked) and 2 * len({*asked}) > len(asked):
        yield (
            f'{shared} of {len(asked)} images of {where} that were looked at are images of the '
            'training too, so metrics tell nothing of others: correct one of the two'
        )


def _images(dataset: Any, rows: Sequence[int]) -> Iterator[Any]:
    """Paths of images, or pixels where they lie in memory; nothing of a dataset that hides them."""
    with suppress(AttributeError, KeyError, NotImplementedError, TypeError):
        for row in rows:
            info = dataset.get_data_info(row)
            path = info.get('img_path')
            yield str(path) if path else hash(np.ascontiguousarray(info['img']).tobytes())


def _spread(size: int, count: int) -> list[int]:
    return np.linspace(0, size - 1, min(count, size)).astype(int).tolist()


def within(side: Side, count: int | None) -> Iterator[str]:
    """What a side says that contradicts itself or the number of classes of the model."""
    folders = side.folders or {}
    hidden = [name for name in folders if name.startswith(NO_CLASS)]
    if hidden:
        yield (
            f'{side.where}: {_listed(hidden)} would be a class, as every folder is among those of '
            'the images: remove it'
        )
        return
    if any(folders.get(name, place) != place for place, name in enumerate(side.names or ())):
        found = sorted(folders, key=folders.__getitem__)
        yield (
            f'{side.where}: classes are given as {_listed(side.names)}, but images are numbered '
            f'by their folders, {_listed(found)}: give the classes in this order, or leave them out'
        )
    needed = None if side.names is None else len(side.names)
    if needed == 1 or (count == 1 and needed is None):
        yield f'{side.where} has one class: there is nothing to tell apart; correct its data'
    elif needed is not None and count is not None and needed != count:
        empty = _empty(side)
        names = f' ({_listed(side.names)})' if needed < 12 else ''
        yield (
            f'model.head.num_classes={count}, but {side.where} has {needed} classes{names}: '
            + (f'remove {_listed(empty)}, which holds no image, or ' if empty else '')
            + f'set model.head.num_classes={needed}'
        )
    yield from _out_of_range(side, count if needed is None else needed)


def _out_of_range(side: Side, count: int | None) -> Iterator[str]:
    if side.labels is None or not len(side.labels):
        return
    lowest, highest = int(side.labels[0]), int(side.labels[-1])
    if lowest >= 0 and (count is None or highest < count):
        return
    range_ = '' if count is None else f' to {count - 1}'
    cure = (
        'subtract 1 from each'
        if lowest > 0 and highest == count
        else 'correct them'
        if lowest < 0 or side.names is not None
        else f'correct them, or set model.head.num_classes={highest + 1}'
    )
    yield f'{side.where} has labels {lowest} to {highest}, but classes count from 0{range_}: {cure}'


def between(trained: Side, other: Side) -> Iterator[str]:
    """What two sides say of the classes that cannot both hold."""
    ours, theirs = trained.names, other.names
    if ours is not None and theirs is not None and not are_same(ours, theirs):
        yield f'{other.where}: {_difference(ours, theirs, trained.where)}'
    elif trained.of_whole is not None and other.of_whole is not None:
        ends = [(labels[0], labels[-1]) for labels in (trained.of_whole, other.of_whole)]
        if ends[0][0] < ends[1][0] and ends[0][1] < ends[1][1]:
            yield (
                f'{other.where} has labels {ends[1][0]} to {ends[1][1]}, {trained.where} '
                f'{ends[0][0]} to {ends[0][1]}: number the classes of both in the same way'
            )


def _difference(ours: Names, theirs: Names, where: str) -> str:
    missing = [name for name in ours if name not in theirs]
    added = [name for name in theirs if name not in ours]
    if not missing and not added:
        return (
            f'its classes {_listed(theirs)} are in another order than those of {where}, '
            f'{_listed(ours)}: give both the same order'
        )
    parts = [
        *([f'lacks {_listed(missing)}'] if missing else []),
        *([f'has {_listed(added)} too'] if added else []),
    ]
    cure = 'give both the same folders, empty ones where there is no image'
    if len(ours) == len(theirs):
        cure = 'if these are names of the same classes, give both the same metainfo.classes'
    return (
        f'beside the classes of {where} it {" and ".join(parts)}, so that one label means '
        f'two classes: {cure}'
    )


def _empty(side: Side) -> list[str]:
    """Folders without an image."""
    if side.of_whole is None:
        return []
    return [name for name, label in (side.folders or {}).items() if label not in side.of_whole]


def _listed(names: Sequence[str] | None) -> str:
    return reprlib.repr(list(names or ())).strip('[]')
