"""Parts of a config in a few words."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Keys of datasets that say where their files are.
PLACES = ('data_root', 'data_prefix', 'data_file', 'ann_file')


def entry_in_words(entry: Mapping[str, Any]) -> str:
    """The type of an entry, and its settings but for those of other entries within.

    Examples:
        >>> entry_in_words(dict(type='mmbss.KDLoss', temperature=3.0, attack=dict(type='A')))
        'KDLoss(temperature=3.0)'
    """
    settings = ', '.join(
        f'{key}={reprlib.repr(value)}'
        for key, value in entry.items()
        if key != 'type' and not isinstance(value, Mapping)
    )
    return f'{name_of(entry)}({settings})' if settings else name_of(entry)


def name_of(entry: Mapping[str, Any]) -> str:
    """The type of an entry, without its module."""
    kind = entry.get('type', 'unknown')
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__


def teacher_in_words(teacher: Mapping[str, Any]) -> str:
    """A teacher's config by its name, and its checkpoint.

    Examples:
        >>> teacher_in_words(dict(config='configs/kd/resnet14.py', checkpoint='work_dirs/a.pth'))
        'resnet14, work_dirs/a.pth'
        >>> teacher_in_words(dict(config=[dict(config='timm:resnet50'), dict(config='a.onnx')]))
        'timm:resnet50 and a.onnx'
    """
    config, checkpoint = teacher.get('config'), teacher.get('checkpoint')
    if isinstance(config, (list, tuple)):
        return ' and '.join(map(teacher_in_words, config))
    if isinstance(config, Mapping):
        name = entry_in_words(config.get('backbone', config))
    else:
        name = Path(str(config)).stem if str(config).endswith('.py') else str(config)
    return name if checkpoint is None else f'{name}, {checkpoint}'


def training_fraction(dataset: Mapping[str, Any]) -> float:
    """Share of the training set that a dataset config keeps, wrappers of it included."""
    inner = dataset.get('dataset')
    fraction = float(dataset.get('fraction', 1.0))
    return fraction * training_fraction(inner) if isinstance(inner, dict) else fraction


def selection(dataset: Mapping[str, Any]) -> str:
    """What a dataset config picks beside a share, wrappers of it included; '' where it is all.

    Examples:
        >>> selection(dict(type='mmbss.Digits', indices=100))
        'the first 100 of '
        >>> selection(dict(dataset=dict(type='mmbss.Digits', indices=[3, 5]), keep=[0, 1]))
        'classes 0, 1 of 2 of '
    """
    words = ''
    for key, begin in dict(keep='', drop='all but ').items():
        if (classes := dataset.get(key)) is not None:
            words += f'{begin}classes {", ".join(map(str, classes))} of '
    indices = dataset.get('indices')
    if isinstance(indices, int):
        words += f'the {"first" if indices >= 0 else "last"} {abs(indices):,} of '
    elif indices is not None:
        words += f'{len(indices):,} of '
    inner = dataset.get('dataset')
    return words + (selection(inner) if isinstance(inner, Mapping) else '')


def innermost(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """The dataset config within wrappers that have one inside."""
    inner = dataset.get('dataset')
    return innermost(inner) if isinstance(inner, Mapping) else dataset


def leaves(dataset: Mapping[str, Any]) -> list[Any]:
    """The dataset configs within subsets, concatenations and the like, which have the pipelines."""
    dataset = innermost(dataset)
    parts = dataset.get('datasets') or ()
    return [leaf for part in parts for leaf in leaves(part)] or [dataset]


def data_in_words(dataset: Mapping[str, Any]) -> str:
    """A training set: its type, its files, the share of it.

    Examples:
        >>> inner = dict(type='mmbss.ArrayDataset', data_file='data/cifar10/train.npz')
        >>> data_in_words(dict(type='mmbss.StratifiedSubset', dataset=inner, fraction=0.1))
        '10 % of ArrayDataset (data/cifar10/train.npz)'
        >>> data_in_words(inner)
        'all of ArrayDataset (data/cifar10/train.npz)'
        >>> data_in_words(dict(type='ConcatDataset', datasets=[inner, dict(type='mmbss.Digits')]))
        'all of ArrayDataset (data/cifar10/train.npz) and all of Digits'
    """
    fraction, picked = training_fraction(dataset), selection(dataset)
    dataset = innermost(dataset)
    share = 'all' if fraction == 1 else f'{100 * fraction:g} %'
    if parts := dataset.get('datasets'):
        said = ' and '.join(map(data_in_words, parts))
        return f'{share} of {picked}({said})' if picked or fraction != 1 else said
    places = [str(dataset[key]) for key in PLACES if dataset.get(key)]
    return f'{share} of {picked}{name_of(dataset)}' + (f' ({", ".join(places)})' if places else '')


def counted(count: int, thing: str) -> str:
    """So many of a thing.

    Examples:
        >>> counted(1, 'epoch'), counted(1200, 'image')
        ('1 epoch', '1,200 images')
    """
    return f'{count:,} {thing}' if count == 1 else f'{count:,} {thing}s'
