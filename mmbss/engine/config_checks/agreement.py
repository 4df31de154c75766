"""Whether the parts of a config agree with each other."""

import reprlib

from mmengine.config import Config

from mmbss.engine.config_checks.data_agreement import check_data
from mmbss.engine.config_checks.places import entries_of
from mmbss.engine.errors import ConfigError
from mmbss.registry import METRICS

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
    check_data(cfg)
    check_optimizer(cfg)
    check_units_of_time(cfg)
    check_save_best(cfg)


def check_outdated(cfg: Config) -> None:
    """Refuse a name of OpenMMLab 1.x where what has taken its place is missing."""
    for name, successor in OUTDATED.items():
        if name in cfg and cfg.get(successor) is None:
            raise ConfigError(
                f'{name}={reprlib.repr(cfg[name])} is of OpenMMLab 1.x and read by nobody: move it '
                f'to {successor}'
            )


def check_together(cfg: Config) -> None:
    """Refuse a loop that lacks its data, its metrics or its optimizer."""
    for names in TOGETHER:
        present = [name for name in names if cfg.get(name) is not None]
        if present and len(present) < len(names):
            missing = [name for name in names if name not in present]
            raise ConfigError(
                f'{", ".join(missing)} must not be missing or None where there is '
                f'{" and ".join(present)}: give all of them, or set all to None'
            )
    if cfg.get('param_scheduler') and cfg.get('optim_wrapper') is None:
        raise ConfigError(
            f'param_scheduler={reprlib.repr(cfg.param_scheduler)} needs an optim_wrapper: add one, '
            'or set param_scheduler=None'
        )
    scaling = cfg.get('auto_scale_lr') or {}
    if scaling.get('enable') and 'base_batch_size' not in scaling:
        raise ConfigError(
            'auto_scale_lr.enable=True needs auto_scale_lr.base_batch_size: add the batch size '
            'that the learning rate is meant for'
        )


def check_optimizer(cfg: Config) -> None:
    """Refuse settings of the optimizer, and of its schedule, that exclude each other."""
    wrapper = cfg.get('optim_wrapper') or {}
    optimizer = wrapper.get('optimizer')
    if wrapper and optimizer is None and 'constructor' not in wrapper:
        raise ConfigError(
            f'optim_wrapper={reprlib.repr(dict(wrapper))} lacks an optimizer: add '
            "optimizer=dict(type='SGD', lr=0.1)"
        )
    if not isinstance(optimizer, dict):
        return
    if optimizer.get('nesterov') and not optimizer.get('momentum'):
        raise ConfigError(
            f'optim_wrapper.optimizer.nesterov={optimizer["nesterov"]} needs a momentum above 0: '
            'set optim_wrapper.optimizer.momentum=0.9, or nesterov=False'
        )
    for path, schedule in entries_of(cfg, 'param_scheduler'):
        begin, end = schedule.get('begin', 0), schedule.get('end')
        if end is not None and not begin < end:
            raise ConfigError(f'{path}.end={end} must be above {path}.begin={begin}')
        lowest, rate = schedule.get('eta_min') or 0, optimizer.get('lr')
        is_of_rate = str(schedule.get('type')).endswith('LR')
        if is_of_rate and rate is not None and lowest > rate:
            raise ConfigError(
                f'{path}.eta_min={lowest} must be at most optim_wrapper.optimizer.lr={rate}, from '
                'which the learning rate falls to it'
            )


def check_units_of_time(cfg: Config) -> None:
    """Refuse epochs where the training is counted in iterations."""
    loop = cfg.get('train_cfg') or {}
    if loop.get('by_epoch') is not False and loop.get('type') != 'IterBasedTrainLoop':
        return
    advice = 'training by iteration has no epochs, so it would never act: set'
    for path, schedule in entries_of(cfg, 'param_scheduler'):
        if schedule.get('by_epoch', True) and not schedule.get('convert_to_iter_based'):
            raise ConfigError(f'{path}.by_epoch=True: {advice} {path}.by_epoch=False')
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if isinstance(checkpoint, dict) and checkpoint.get('by_epoch', True):
        path = 'default_hooks.checkpoint.by_epoch'
        raise ConfigError(f'{path}=True: {advice} {path}=False')


def check_save_best(cfg: Config) -> None:
    """Refuse to keep the best checkpoint by a metric that nobody computes."""
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    wanted = checkpoint.get('save_best')
    names: list[str] = []
    for _, metric in entries_of(cfg, 'val_evaluator'):
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
            raise ConfigError(
                f'default_hooks.checkpoint.save_best={name!r} is computed by no metric: set it to '
                f"'auto' or one of {', '.join(names)}"
            )
