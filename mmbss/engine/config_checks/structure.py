"""Check the names, types and arguments of a whole config before anything is built from it."""

import difflib
import reprlib
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmbss.engine.config_checks.agreement import check_agreement
from mmbss.engine.build import find_arguments
from mmbss.engine.build import check_keys, check_known
from mmbss.engine.config_checks.places import (
    LOADERS,
    LOOPS,
    METRICS,
    PREPROCESSOR,
    SECTIONS,
    TOP_LEVEL,
    Place,
    find_entries,
)
from mmbss.engine.config_checks.values import check_values
from mmbss.engine.errors import ConfigError


def check_config(cfg: Config) -> None:
    """Refuse a config with a mistake that can be seen before anything is built.

    Checked are the names of keys and types, the types of values, their ranges, and whether the
    parts agree with each other. Names of a user's own at the top of a config are left alone, and
    so is what code takes as ``**kwargs`` and does not hand on to a base class.

    Args:
        cfg: The config of a runner.

    Raises:
        ValueError: In one line with the key, its value and what to do about it.
    """
    check_top_level(cfg)
    for path, place, config in find_entries(cfg):
        check_entry(path, place, config)
    for name in LOADERS:
        if isinstance(cfg.get(name), dict):
            check_loader(name, cfg[name])
    check_sections(cfg)
    check_values(cfg)
    check_loop(cfg.get('train_cfg'))
    check_agreement(cfg)


def check_top_level(cfg: Config) -> None:
    """Refuse misspelt names, and values that the runner cannot take.

    Raises:
        ValueError: If a name is nearly that of something that mmengine reads.
    """
    known = [name for name in TOP_LEVEL if name not in ('cfg', 'self')]
    for key, value in cfg.items():
        # a number at the end is a name of one's own: train_dataloader2
        if key in known or key[-1:].isdigit() or not isinstance(value, (dict, list, tuple)):
            continue
        (closest,) = difflib.get_close_matches(key, known, n=1, cutoff=0) or ('',)
        alike = difflib.SequenceMatcher(None, key, closest).ratio()
        if alike >= 0.9 or (alike >= 0.8 and closest not in cfg):
            raise ConfigError(
                f'{key}={reprlib.repr(value)} is read by nobody, did you mean {closest!r}? Rename '
                'it, or choose a name that is less alike'
            )
    given = {key: cfg[key] for key in find_arguments(Runner).known if key in cfg}
    check_keys(given, Runner, 'the config', supplied=('work_dir',))


def check_sections(cfg: Config) -> None:
    """Refuse keys that mmengine does not read in sections that have no type.

    Raises:
        ValueError: Naming the key.
    """
    for name, known in SECTIONS.items():
        check_known(cfg.get(name) or {}, known, name)


def check_entry(path: str, place: Place, config: Any) -> None:
    """Refuse an entry without a type, of an unknown one, or with arguments that do not fit it.

    Raises:
        ValueError: Naming the key.
    """
    if not isinstance(config, dict):
        if isinstance(config, (str, int, float)):
            raise ConfigError(f'{path}={config!r} must be a dict with a type')
        return
    if place is LOOPS and ('type' not in config or 'by_epoch' in config):
        return  # see check_loop
    name = config.get('type', place.default)
    if name is None and (place is PREPROCESSOR or (place is METRICS and 'metrics' in config)):
        return
    if name is None:
        raise ConfigError(f'{path} must be a dict with a type, got {reprlib.repr(dict(config))}')
    kind = find_type(path, place.registry, name)
    check_keys(
        {k: v for k, v in config.items() if k not in ('type', '_scope_', *place.popped)},
        kind,
        f'{path} ({getattr(kind, "__name__", kind)})',
        place.supplied,
    )


def find_type(path: str, types: Registry, name: Any) -> Any:
    """The class of that name.

    Raises:
        ValueError: If there is none.
    """
    if callable(name):
        return name
    kind = types.get(name) if isinstance(name, str) else None
    if kind is None:
        known = {
            key if each.scope in ('mmengine', 'mmpretrain') else f'{each.scope}.{key}': key
            for each in _family(types)
            for key in each.module_dict
        }
        plain = str(name).split('.')[-1]
        (closest,) = difflib.get_close_matches(plain, known.values(), n=1) or (None,)
        full = [each for each, key in known.items() if key == closest]
        hint = f', did you mean {full[0]!r}?' if full else ';'
        raise ConfigError(
            f'{path}.type={name!r} is not in the {types.name} registry{hint} A module of your own '
            'must be in custom_imports'
        )
    return kind


def _family(types: Registry) -> Iterator[Registry]:
    level: Registry | None = types
    while level is not None:
        yield level
        level = level.parent


def check_loader(name: str, config: dict[str, Any]) -> None:
    """Refuse keys of a data loader that neither torch nor mmengine reads.

    Raises:
        ValueError: If a key is unknown or missing.
    """
    accepted = {
        *find_arguments(DataLoader).known,
        *('num_batch_per_epoch', 'disable_subprocess_warning'),
    }
    check_known(config, accepted, name)
    if 'batch_sampler' not in config and config.get('batch_size') is None:
        raise ConfigError(f'{name} lacks batch_size: add one, such as {name}.batch_size=32')
    for key in ('dataset', 'sampler'):
        if config.get(key) is None:
            raise ConfigError(f'{name} lacks {key}: add a dict with a type, see the user guide')


def check_loop(config: Any) -> None:
    """Refuse a training loop that is ambiguous, or keys that it does not read.

    Raises:
        ValueError: If a key is unknown or missing.
    """
    if not isinstance(config, dict) or ('type' in config and 'by_epoch' not in config):
        return
    if 'type' in config or 'by_epoch' not in config:
        raise ConfigError(
            f'train_cfg={dict(config)} must have either by_epoch=True (with max_epochs) or '
            'by_epoch=False (with max_iters), or else a type'
        )
    by_epoch = config['by_epoch']
    loop, other = (
        (EpochBasedTrainLoop, 'max_iters') if by_epoch else (IterBasedTrainLoop, 'max_epochs')
    )
    if other in config:
        raise ConfigError(
            f'train_cfg.{other}={config[other]} contradicts by_epoch={by_epoch}: remove it, or set '
            f'by_epoch={not by_epoch}'
        )
    keys = {key: value for key, value in config.items() if key != 'by_epoch'}
    check_keys(keys, loop, f'train_cfg ({loop.__name__})', LOOPS.supplied)
