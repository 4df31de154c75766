"""Mistakes that nobody else would report, or not before they have cost a training."""

import reprlib
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from mmbss.engine.build import is_known, lookup
from mmbss.engine.config_checks.entries import find_entries
from mmbss.engine.config_checks.rules import is_whole, setting, wrong_values
from mmbss.engine.errors import refuse
from mmbss.registry import HOOKS

#: Names of OpenMMLab 1.x, which mmengine does not read, by what has taken their place.
OUTDATED = dict(
    default_hooks='checkpoint_config log_config',
    load_from='resume_from',
    optim_wrapper='optimizer optimizer_config',
    param_scheduler='lr_config',
    randomness='seed',
    train_cfg='runner total_epochs',
    train_dataloader='data',
    val_evaluator='evaluation',
)

#: Hooks of which a second one would undo or repeat what the first does.
ONCE = (
    *('AccumulationHook', 'BSSHook', 'DistSamplerSeedHook', 'EMAHook', 'FiniteLossHook'),
    *('IterTimerHook', 'ParamSchedulerHook', 'RuntimeInfoHook', 'StepSeedHook', 'TeacherCacheHook'),
)


def check_outdated(cfg: Config) -> None:
    """Refuse names of OpenMMLab 1.x where what has taken their place is missing."""
    refuse(
        f'{name}={reprlib.repr(cfg[name])} is of OpenMMLab 1.x and read by nobody: move it to '
        f'{successor}'
        for successor, names in OUTDATED.items()
        for name in names.split()
        if name in cfg and cfg.get(successor) is None
    )


def silent_mistakes(cfg: Config) -> Iterator[str]:
    """Settings that lead to an obscure error, to a late one, or to none."""
    yield from wrong_values(cfg)
    yield from in_schedules(cfg)
    yield from in_hooks(cfg)
    yield from in_weights(cfg)


def in_weights(cfg: Config) -> Iterator[str]:
    """Losses that there are none of, and weights that a schedule would replace."""
    model = cfg.get('model') or {}
    losses = model.get('losses') or {}
    if not isinstance(losses, dict):  # refused where its class is known
        return
    if 'teacher' in model and not losses:
        yield (
            'model.losses is empty, so the student would learn nothing from its teacher: add a '
            "loss such as loss_kd=dict(type='mmbss.KDLoss')"
        )
    yield from (
        f'model.losses.{name} must be a dict with a type, got {reprlib.repr(term)}'
        for name, term in losses.items()
        if term is None or isinstance(term, (list, tuple))
    )
    for path, hook in _entries_at(cfg, 'default_hooks', 'custom_hooks'):
        schedules = hook.get('schedules')
        if not str(hook['type']).endswith('BSSHook') or not isinstance(schedules, dict):
            continue
        for name in schedules:
            where = 'head.loss' if name == 'loss_cls' else f'losses.{name}'
            weight = setting(model, f'{where}.loss_weight')
            # the head's is 1 in most configs, which are inherited from
            is_set = isinstance(weight, (int, float)) and weight >= 0
            if is_set and (name != 'loss_cls' or weight != 1):
                yield (
                    f'model.{where}.loss_weight={weight} would be replaced by '
                    f'{path}.schedules.{name}: remove one of the two'
                )


def in_schedules(cfg: Config) -> Iterator[str]:
    """Rates that rise toward what they are to fall to, and epochs where iterations are counted."""
    rate = setting(cfg, 'optim_wrapper.optimizer.lr')
    schedules = list(_entries_at(cfg, 'param_scheduler'))
    for path, schedule in schedules:
        lowest = schedule.get('eta_min') or 0
        is_of_rate = str(schedule['type']).endswith('LR') and isinstance(rate, (int, float))
        if is_of_rate and isinstance(lowest, (int, float)) and lowest > max(rate, 0):
            yield (
                f'{path}.eta_min={lowest} must be at most optim_wrapper.optimizer.lr={rate}, from '
                'which the learning rate falls to it'
            )
    begin = setting(cfg, 'train_cfg.val_begin')
    end = setting(cfg, 'train_cfg.max_epochs') or setting(cfg, 'train_cfg.max_iters')
    if is_whole(begin) and is_whole(end) and begin > end and cfg.get('val_dataloader'):
        yield f'train_cfg.val_begin={begin} comes after the end={end}: lower it, or train longer'
    if not counts_iterations(cfg):
        return
    hooks = [each for each in _entries_at(cfg, 'default_hooks') if each[0].endswith('.checkpoint')]
    logs = _entries_at(cfg, 'log_processor')
    late = [
        f'{path}.by_epoch'
        for path, entry in (*schedules, *hooks, *logs)
        if entry.get('by_epoch', True) and not entry.get('convert_to_iter_based')
    ]
    if setting(cfg, 'default_hooks.logger.log_metric_by_epoch'):
        late.append('default_hooks.logger.log_metric_by_epoch')
    if late:
        yield (
            f'{"=True, ".join(late)}=True: training by iteration has no epochs, so nothing would '
            f'happen: set {"=False, ".join(late)}=False'
        )


def counts_iterations(cfg: Config) -> bool:
    """Whether the training is one by iteration, which has no epochs."""
    by_epoch = setting(cfg, 'train_cfg.by_epoch')
    return not by_epoch and setting(cfg, 'train_cfg.max_iters') is not None


def in_hooks(cfg: Config) -> Iterator[str]:
    """Hooks that would do the same thing twice."""
    found: dict[str, str] = {}
    for path, hook in _entries_at(cfg, 'default_hooks', 'custom_hooks'):
        name = getattr(lookup(HOOKS, hook['type']), '__name__', '')
        if name in ONCE and name in found:
            yield f'{path} and {found[name]} are both {name}: remove one of the two'
        found.setdefault(name, path)


def _entries_at(cfg: Config, *names: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Entries at the top, but for those of somebody's own, which may call anything so."""
    for entry in find_entries({name: cfg.get(name) for name in names}):
        if not isinstance(entry.config, dict) or 'type' not in entry.config:
            continue
        if is_known(lookup(entry.registry, entry.config['type'])):
            yield entry.path, entry.config
