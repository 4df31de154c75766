"""Parts of a config that name no type, so that no registry knows what they take."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.runner import Runner
from mmengine.runner.priority import Priority, get_priority
from mmengine.utils.dl_utils import set_multi_processing
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from mmbss.engine.build import (
    accepted_keys,
    are_alike,
    check_keys,
    lookup,
    suggest,
)
from mmbss.engine.config_checks.entries import Entry, find_entries
from mmbss.engine.config_checks.rules import setting
from mmbss.engine.config_checks.signatures import (
    of_auto_scale_lr,
    of_env_cfg,
    of_paramwise_cfg,
    of_recipe,
    of_schedule,
)
from mmbss.engine.errors import ConfigError, problems_of, refuse
from mmbss.engine.fitting import allows_number
from mmbss.registry import HOOKS

#: What a part becomes the arguments of, and those of them that are not the config's.
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    'auto_scale_lr': (of_auto_scale_lr, ()),
    'compile': (torch.compile, ('model',)),
    'env_cfg': (of_env_cfg, ()),
    'env_cfg.dist_cfg': (init_dist, ('launcher',)),
    'env_cfg.mp_cfg': (set_multi_processing, ('distributed',)),
    'randomness': (Runner.set_randomness, ('self',)),
}
CLIPPING: dict[str, Callable[..., Any]] = dict(norm=clip_grad_norm_, value=clip_grad_value_)
#: What mmengine reads of the groups in ``paramwise_cfg.custom_keys``.
OF_GROUPS = ('lr_mult', 'decay_mult')


def misfits_without_type(cfg: Config) -> Iterator[str]:
    """Names that nobody reads, and values that do not fit, where no class says what is right."""
    for path, (function, supplied) in FUNCTIONS.items():
        config = setting(cfg, path)
        if isinstance(config, Mapping):
            yield from problems_of(check_keys, config, function, path, supplied)
    for entry in find_entries(cfg):
        if not isinstance(entry.config, dict):
            continue
        if entry.key in ('default_hooks', 'custom_hooks'):
            yield from problems_of(check_priority, entry)
            yield from problems_of(check_recipes, entry)
        if entry.key == 'param_scheduler':
            taken_out = accepted_keys(of_schedule).keys() & entry.config.keys()
            settings = {key: entry.config[key] for key in sorted(taken_out)}
            yield from problems_of(check_keys, settings, of_schedule, entry.path)
        if entry.key == 'optim_wrapper':
            yield from problems_of(check_clipping, entry)
            yield from problems_of(check_paramwise, entry)


def check_priority(entry: Entry) -> None:
    """Refuse a priority of a hook that there is not."""
    priority = entry.config.get('priority', 'NORMAL')
    try:
        get_priority(priority)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f'{entry.path}.priority={priority!r} must be one of {", ".join(Priority.__members__)}, '
            'or a whole number from 0 to 100'
        ) from error


def check_recipes(entry: Entry) -> None:
    """Refuse recipes of mmpretrain's ``SwitchRecipeHook`` of which a part would be left out."""
    kind = lookup(entry.registry, entry.config.get('type'))
    recipes = entry.config.get('schedule')
    if kind is not HOOKS.get('SwitchRecipeHook') or not isinstance(recipes, (list, tuple)):
        return
    for index, recipe in enumerate(recipes):
        where = f'{entry.path}.schedule.{index}'
        check_keys(recipe, of_recipe, where)
        if (epoch := recipe['action_epoch']) < 1:
            raise ConfigError(f'{where}.action_epoch={epoch}: epochs are counted from 1')


def check_clipping(entry: Entry) -> None:
    """Refuse settings that torch does not clip gradients by."""
    clipping = entry.config.get('clip_grad')
    if not isinstance(clipping, dict):  # a wrong type is seen elsewhere
        return
    kind = clipping.get('type', 'norm')
    if kind in CLIPPING:  # mmengine says which there are
        given = {key: value for key, value in clipping.items() if key != 'type'}
        check_keys(given, CLIPPING[kind], f'{entry.path}.clip_grad', ('parameters',))


def check_paramwise(entry: Entry) -> None:
    """Refuse settings of single parameters that no optimizer wrapper's constructor reads."""
    config = entry.config.get('paramwise_cfg')
    if not isinstance(config, dict):
        return
    where = f'{entry.path}.paramwise_cfg'
    given = {
        key: value
        for key, value in config.items()
        if not str(key).startswith('_') and allows_number(key, value)  # factors are refused below
    }
    problems: list[str] = []
    if not entry.config.get('constructor'):  # others read other keys
        problems = problems_of(check_keys, given, of_paramwise_cfg, where)
    groups = config.get('custom_keys')
    for name, group in groups.items() if isinstance(groups, dict) else ():
        place = f'{where}.custom_keys[{name!r}]'
        if not isinstance(group, dict):
            problems.append(f'{place}={group!r} must be a dict such as dict(lr_mult=0.1)')
        else:
            # whatever else stands there, the optimizer may read
            misspelt = [key for key in group if key not in OF_GROUPS and are_alike(key, OF_GROUPS)]
            problems += [
                f'{place} has no key {each!r}{suggest(each, OF_GROUPS)}' for each in misspelt
            ]
            problems += multiples(group, place)
    refuse([*problems, *multiples(config, where)])


def multiples(config: dict[Any, Any], where: str) -> Iterator[str]:
    """Factors of a rate that are no numbers of at least 0."""
    for key, value in config.items():
        if not str(key).endswith(('_mult', '_rate')):
            continue
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 <= value < float('inf'):
            yield f'{where}.{key}={value!r} must be a number of at least 0'


def idle_custom_keys(cfg: Config, model: nn.Module) -> list[str]:
    """Names in ``paramwise_cfg.custom_keys`` that are part of no parameter's name."""
    names = [f'.{name}' for name, _ in model.named_parameters()]
    paramwise = (cfg.get('optim_wrapper') or {}).get('paramwise_cfg') or {}
    keys = paramwise.get('custom_keys') or {}
    return [key for key in keys if not any(str(key) in name for name in names)]
