"""Whether the parts of a config agree with each other."""

import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config

from mmbss.registry import DATASETS, METRICS, TRANSFORMS

#: What belongs together: all of it is there, or nothing.
TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)

#: Names of OpenMMLab 1.x, which mmengine does not read, and what has taken their place.
OUTDATED = dict(
    optimizer='optim_wrapper',
    optimizer_config='optim_wrapper',
    lr_config='param_scheduler',
    runner='train_cfg',
    total_epochs='train_cfg',
    data='train_dataloader',
    evaluation='val_evaluator',
    checkpoint_config='default_hooks',
    log_config='default_hooks',
    seed='randomness',
    resume_from='load_from',
)


def check_agreement(cfg: Config) -> None:
    """Refuse parts that contradict each other.

    Raises:
        ValueError: Naming both.
    """
    check_together(cfg)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if isinstance(cfg.get(name), dict):
            check_sampling(name, cfg[name])
    check_optimizer(cfg)
    check_units_of_time(cfg)
    check_normalisation(cfg)
    check_classes(cfg)
    check_save_best(cfg)


def check_outdated(cfg: Config) -> None:
    """Refuse a name of OpenMMLab 1.x where what has taken its place is missing."""
    for name, successor in OUTDATED.items():
        if name in cfg and cfg.get(successor) is None:
            raise ValueError(
                f'{name}={reprlib.repr(cfg[name])} is of OpenMMLab 1.x and read by nobody: move it '
                f'to {successor}'
            )


def check_together(cfg: Config) -> None:
    """Refuse a loop that lacks its data, its metrics or its optimizer."""
    for names in TOGETHER:
        present = [name for name in names if cfg.get(name) is not None]
        if present and len(present) < len(names):
            missing = [name for name in names if name not in present]
            raise ValueError(
                f'{", ".join(missing)} must not be missing or None where there is '
                f'{" and ".join(present)}: give all of them, or set all to None'
            )
    if cfg.get('param_scheduler') and cfg.get('optim_wrapper') is None:
        raise ValueError(
            f'param_scheduler={reprlib.repr(cfg.param_scheduler)} needs an optim_wrapper: add one, '
            'or set param_scheduler=None'
        )
    scaling = cfg.get('auto_scale_lr') or {}
    if scaling.get('enable') and 'base_batch_size' not in scaling:
        raise ValueError(
            'auto_scale_lr.enable=True needs auto_scale_lr.base_batch_size: add the batch size '
            'that the learning rate is meant for'
        )


def check_sampling(name: str, loader: dict[str, Any]) -> None:
    """Refuse a data loader that is told twice how to draw its batches."""
    if 'shuffle' in loader:
        raise ValueError(
            f'{name}.shuffle={loader["shuffle"]} contradicts {name}.sampler: set '
            f'{name}.sampler.shuffle instead'
        )
    if loader.get('batch_sampler') is not None and loader.get('drop_last'):
        raise ValueError(
            f'{name}.drop_last={loader["drop_last"]} contradicts {name}.batch_sampler: remove one '
            'of the two'
        )
    if loader.get('prefetch_factor') is not None and not loader.get('num_workers'):
        raise ValueError(
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
        raise ValueError(
            f'{path} ends with {names[-1]!r}, which hands no inputs to the model: add '
            "dict(type='PackInputs') at its end"
        )


def check_optimizer(cfg: Config) -> None:
    """Refuse settings of the optimizer, and of its schedule, that exclude each other."""
    wrapper = cfg.get('optim_wrapper') or {}
    optimizer = wrapper.get('optimizer')
    if wrapper and optimizer is None and 'constructor' not in wrapper:
        raise ValueError(
            f'optim_wrapper={reprlib.repr(dict(wrapper))} lacks an optimizer: add '
            "optimizer=dict(type='SGD', lr=0.1)"
        )
    if not isinstance(optimizer, dict):
        return
    if optimizer.get('nesterov') and not optimizer.get('momentum'):
        raise ValueError(
            f'optim_wrapper.optimizer.nesterov={optimizer["nesterov"]} needs a momentum above 0: '
            'set optim_wrapper.optimizer.momentum=0.9, or nesterov=False'
        )
    for path, schedule in schedules(cfg):
        begin, end = schedule.get('begin', 0), schedule.get('end')
        if end is not None and not begin < end:
            raise ValueError(f'{path}.end={end} must be above {path}.begin={begin}')
        lowest, rate = schedule.get('eta_min') or 0, optimizer.get('lr')
        is_of_rate = str(schedule.get('type')).endswith('LR')
        if is_of_rate and rate is not None and lowest > rate:
            raise ValueError(
                f'{path}.eta_min={lowest} must be at most optim_wrapper.optimizer.lr={rate}, from '
                'which the learning rate falls to it'
            )


def check_units_of_time(cfg: Config) -> None:
    """Refuse epochs where the training is counted in iterations."""
    loop = cfg.get('train_cfg') or {}
    if loop.get('by_epoch') is not False and loop.get('type') != 'IterBasedTrainLoop':
        return
    advice = 'training by iteration has no epochs, so it would never act: set'
    for path, schedule in schedules(cfg):
        if schedule.get('by_epoch', True) and not schedule.get('convert_to_iter_based'):
            raise ValueError(f'{path}.by_epoch=True: {advice} {path}.by_epoch=False')
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if isinstance(checkpoint, dict) and checkpoint.get('by_epoch', True):
        path = 'default_hooks.checkpoint.by_epoch'
        raise ValueError(f'{path}=True: {advice} {path}=False')


def check_normalisation(cfg: Config) -> None:
    """Refuse means and deviations that do not fit each other or the channels of the images."""
    model = cfg.get('model') or {}
    of_model = model.get('data_preprocessor')
    path = 'model.data_preprocessor' if of_model else 'data_preprocessor'
    settings = of_model or cfg.get('data_preprocessor') or {}
    mean, std = settings.get('mean'), settings.get('std')
    if (mean is None) != (std is None) or (mean and std and len(mean) != len(std)):
        raise ValueError(
            f'{path}.mean={reprlib.repr(mean)} and {path}.std={reprlib.repr(std)} must have one '
            'number a channel each'
        )
    backbone = model.get('backbone') or {}
    channels = backbone.get('in_channels') if 'type' in backbone else None
    if mean is not None and len(mean) > 1 and channels is not None and channels != len(mean):
        raise ValueError(
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
                raise ValueError(
                    f'model.head.num_classes={classes} is too few for the {len(names)} classes of '
                    f'{path} ({dataset["type"]}): set model.head.num_classes={len(names)}'
                )
    for path, metric in metrics(cfg):
        topk = metric.get('topk', 1)
        largest = topk if isinstance(topk, int) else max(topk, default=1)
        if largest > classes:
            raise ValueError(
                f'{path}.topk={topk} must be at most model.head.num_classes={classes}: there are '
                'no more classes to choose from'
            )


def check_save_best(cfg: Config) -> None:
    """Refuse to keep the best checkpoint by a metric that nobody computes."""
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    wanted = checkpoint.get('save_best')
    names: list[str] = []
    for _, metric in metrics(cfg):
        kind = METRICS.get(metric['type']) if isinstance(metric['type'], str) else metric['type']
        prefix = metric.get('prefix') or getattr(kind, 'default_prefix', None)
        if prefix is None:
            return  # such a metric may have any name
        if kind.__name__ == 'Accuracy':
            topk = metric.get('topk', 1)
            names += [f'{prefix}/top{k}' for k in ([topk] if isinstance(topk, int) else topk)]
        else:
            names.append(f'{prefix}/...')
    for name in [wanted] if isinstance(wanted, str) else wanted or ():
        if names and name != 'auto' and not {name, f'{name.split("/")[0]}/...'} & set(names):
            raise ValueError(
                f'default_hooks.checkpoint.save_best={name!r} is computed by no metric: set it to '
                f"'auto' or one of {', '.join(names)}"
            )


def schedules(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and config of each schedule of a single optimizer."""
    given = cfg.get('param_scheduler') or []
    if isinstance(given, dict):
        yield from [('param_scheduler', given)] if 'type' in given else []
        return
    yield from (
        (f'param_scheduler.{index}', each)
        for index, each in enumerate(given)
        if isinstance(each, dict)
    )


def metrics(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and config of each metric of the validation."""
    given = cfg.get('val_evaluator') or []
    if isinstance(given, dict):
        yield from [('val_evaluator', given)] if 'type' in given else []
        return
    yield from (
        (f'val_evaluator.{index}', each)
        for index, each in enumerate(given)
        if isinstance(each, dict) and 'type' in each
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
