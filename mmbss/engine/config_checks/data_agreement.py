"""Whether the data of a config agree with each other, and with the model."""

import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config

from mmbss.engine.config_checks.places import LOADERS, entries_of
from mmbss.engine.errors import ConfigError
from mmbss.registry import DATASETS, TRANSFORMS


def check_data(cfg: Config) -> None:
    """Refuse data that contradict themselves, or the model.

    Raises:
        ValueError: Naming both.
    """
    for name in LOADERS:
        if isinstance(cfg.get(name), dict):
            check_sampling(name, cfg[name])
    check_normalisation(cfg)
    check_classes(cfg)


def check_sampling(name: str, loader: dict[str, Any]) -> None:
    """Refuse a data loader that is told twice how to draw its batches."""
    if 'shuffle' in loader:
        raise ConfigError(
            f'{name}.shuffle={loader["shuffle"]} contradicts {name}.sampler: set '
            f'{name}.sampler.shuffle instead'
        )
    if loader.get('batch_sampler') is not None and loader.get('drop_last'):
        raise ConfigError(
            f'{name}.drop_last={loader["drop_last"]} contradicts {name}.batch_sampler: remove one '
            'of the two'
        )
    if loader.get('prefetch_factor') is not None and not loader.get('num_workers'):
        raise ConfigError(
            f'{name}.prefetch_factor={loader["prefetch_factor"]} needs workers: remove it, or set '
            f'{name}.num_workers to at least 1'
        )
    for path, dataset in datasets_in(loader['dataset'], f'{name}.dataset'):
        check_pipeline(f'{path}.pipeline', dataset.get('pipeline') or ())


def check_pipeline(path: str, steps: Sequence[Any]) -> None:
    """Refuse transforms of mmcv and mmpretrain whose result the model cannot read."""
    names = [step['type'] for step in steps if isinstance(step, dict) and 'type' in step]
    kinds = [TRANSFORMS.get(name) if isinstance(name, str) else name for name in names]
    if kinds and all(
        kind.__module__.startswith(('mmcv', 'mmpretrain')) and 'Pack' not in kind.__name__
        for kind in kinds
    ):
        raise ConfigError(
            f'{path} ends with {names[-1]!r}, which hands no inputs to the model: add '
            "dict(type='PackInputs') at its end"
        )


def check_normalisation(cfg: Config) -> None:
    """Refuse means and deviations that do not fit each other or the channels of the images."""
    model = cfg.get('model') or {}
    of_model = model.get('data_preprocessor')
    path = 'model.data_preprocessor' if of_model else 'data_preprocessor'
    settings = of_model or cfg.get('data_preprocessor') or {}
    mean, std = settings.get('mean'), settings.get('std')
    if (mean is None) != (std is None) or (mean and std and len(mean) != len(std)):
        raise ConfigError(
            f'{path}.mean={reprlib.repr(mean)} and {path}.std={reprlib.repr(std)} must have one '
            'number a channel each'
        )
    backbone = model.get('backbone') or {}
    channels = backbone.get('in_channels') if 'type' in backbone else None
    if mean is not None and len(mean) > 1 and channels is not None and channels != len(mean):
        raise ConfigError(
            f'model.backbone.in_channels={channels} contradicts {path}.mean={reprlib.repr(mean)}, '
            f'which is of {len(mean)} channels: correct one of the two'
        )


def check_classes(cfg: Config) -> None:
    """Refuse fewer classes in the model than in the data, or than a metric asks for."""
    head = (cfg.get('model') or {}).get('head')
    classes = head.get('num_classes') if isinstance(head, dict) else None
    if classes is None:
        return
    for name in ('train_dataloader', 'val_dataloader'):
        loader = cfg.get(name) or {}
        for path, dataset in datasets_in(loader.get('dataset'), f'{name}.dataset'):
            names = class_names(dataset)
            if names is not None and len(names) > classes:
                raise ConfigError(
                    f'model.head.num_classes={classes} is too few for the {len(names)} classes of '
                    f'{path} ({dataset["type"]}): set model.head.num_classes={len(names)}'
                )
    for path, metric in entries_of(cfg, 'val_evaluator'):
        topk = metric.get('topk', 1)
        largest = topk if isinstance(topk, int) else max(topk, default=1)
        if largest > classes:
            raise ConfigError(
                f'{path}.topk={topk} must be at most model.head.num_classes={classes}: there are '
                'no more classes to choose from'
            )


def datasets_in(config: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and config of a dataset, and of those that it wraps."""
    if isinstance(config, (list, tuple)):
        for index, each in enumerate(config):
            yield from datasets_in(each, f'{path}.{index}')
    elif isinstance(config, dict):
        yield path, config
        for key in ('dataset', 'datasets'):
            yield from datasets_in(config.get(key), f'{path}.{key}')


def class_names(dataset: dict[str, Any]) -> Sequence[str] | None:
    """Names of the classes, from the config or the code of the dataset; None where unknown."""
    kind = dataset.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    of_kind = (getattr(kind, 'METAINFO', None) or {}).get('classes')
    given = dataset.get('classes') or (dataset.get('metainfo') or {}).get('classes') or of_kind
    return given if isinstance(given, (list, tuple)) else None
