"""Which values a config may have, where the code that reads them does not say it clearly."""

import fnmatch
import itertools
import math
import reprlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from mmbss.engine.errors import ConfigError


class Rule(NamedTuple):
    """What a setting may be.

    Attributes:
        paths: Patterns of its dotted path, where ``*`` stands for anything.
        allows: Says of a value whether it may be.
        remedy: What it must be, in words.
    """

    paths: tuple[str, ...]
    allows: Callable[[Any], bool]
    remedy: str


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def is_whole(value: Any, least: int) -> bool:
    """Whether it is a whole number of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_positive(value: Any) -> bool:
    """Whether it is a number above 0."""
    return is_number(value) and value > 0


def is_share(value: Any) -> bool:
    """Whether it lies in [0, 1)."""
    return is_number(value) and 0 <= value < 1


def are_ascending(values: Any) -> bool:
    """Whether these are whole numbers, each above the last and above 0."""
    return (
        isinstance(values, (list, tuple))
        and all(is_whole(value, 1) for value in values)
        and all(first < second for first, second in itertools.pairwise(values))
    )


def may_exist(path: Any) -> bool:
    """Whether it is an existing file, or an address that is not looked up here."""
    return path is None or '://' in str(path) or Path(str(path)).expanduser().exists()


def one_of(*choices: Any) -> tuple[Callable[[Any], bool], str]:
    """A rule's predicate and remedy for a setting with few values."""
    return lambda value: value in choices, f'one of {", ".join(map(repr, choices))}'


def _whole(least: int, *others: Any) -> tuple[Callable[[Any], bool], str]:
    words = ' or '.join([f'a whole number of at least {least}', *map(repr, others)])
    return lambda value: is_whole(value, least) or value in others, words


POSITIVE = (is_positive, 'a number above 0')
NOT_NEGATIVE = (lambda value: is_number(value) and value >= 0, 'a number of at least 0')

RULES = (
    Rule(('train_cfg.max_epochs', 'train_cfg.max_iters', 'train_cfg.val_interval'), *_whole(1)),
    Rule(('train_cfg.val_begin',), *_whole(0)),
    Rule(('train_cfg.by_epoch',), *one_of(True, False)),
    Rule(('*_dataloader.batch_size',), *_whole(1)),
    Rule(('*_dataloader.num_workers',), *_whole(0)),
    Rule(('*_dataloader.prefetch_factor',), *_whole(1, None)),
    Rule(('*_dataloader.num_batch_per_epoch',), *_whole(1, None)),
    Rule(
        ('*_dataloader.*pipeline',),
        lambda value: isinstance(value, (list, tuple)) and len(value) > 0,
        'a list of transforms that ends with one that packs, such as dict(type="PackInputs")',
    ),
    Rule(('optim_wrapper.optimizer.lr',), *POSITIVE),
    Rule(('optim_wrapper.optimizer.weight_decay',), *NOT_NEGATIVE),
    Rule(
        ('optim_wrapper.optimizer.momentum', 'optim_wrapper.optimizer.betas.*'),
        is_share,
        'at least 0 and below 1',
    ),
    Rule(('optim_wrapper.accumulative_counts',), *_whole(1)),
    Rule(('optim_wrapper.clip_grad.max_norm', 'optim_wrapper.clip_grad.clip_value'), *POSITIVE),
    Rule(('optim_wrapper.clip_grad.type',), *one_of('norm', 'value')),
    Rule(('optim_wrapper.dtype',), *one_of(None, 'float16', 'bfloat16', 'float32', 'float64')),
    Rule(('param_scheduler*.gamma', 'param_scheduler*.factor'), *POSITIVE),
    Rule(('param_scheduler*.milestones',), are_ascending, 'a list of ascending whole numbers'),
    Rule(('param_scheduler*.T_max', 'param_scheduler*.step_size'), *_whole(1, None)),
    Rule(('param_scheduler*.begin',), *_whole(0)),
    Rule(
        ('param_scheduler*.start_factor',),
        lambda value: is_number(value) and 0 < value <= 1,
        'above 0 and at most 1',
    ),
    Rule(
        ('custom_hooks.*.momentum',),
        lambda value: is_number(value) and 0 < value < 1,
        'above 0 and below 1: the share of the current weights in the average',
    ),
    Rule(('*_hooks.*.interval', 'default_hooks.*.max_keep_ckpts'), *_whole(1, -1)),
    Rule(
        ('randomness.seed',),
        lambda value: value is None or (is_whole(value, 0) and value < 2**32),
        'None or a whole number in [0, 2**32)',
    ),
    Rule(('auto_scale_lr.base_batch_size',), *_whole(1)),
    Rule(('launcher',), *one_of('none', 'pytorch', 'slurm', 'mpi')),
    Rule(('log_level',), *one_of('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'NOTSET')),
    Rule(('env_cfg.mp_cfg.mp_start_method',), *one_of('fork', 'spawn', 'forkserver')),
    Rule(('load_from',), may_exist, 'None or the path of a checkpoint: there is no such file'),
    Rule(('model.head.num_classes',), *_whole(1)),
    Rule(('model.head.loss.loss_weight',), *NOT_NEGATIVE),
    Rule(
        ('data_preprocessor.std', 'model.data_preprocessor.std'),
        lambda value: value is None or all(map(is_positive, value)),
        'a list of numbers above 0, one a channel, in pixels of [0, 255]',
    ),
    Rule(
        ('data_preprocessor.mean', 'model.data_preprocessor.mean'),
        lambda value: value is None or all(map(is_number, value)),
        'a list of numbers, one a channel, in pixels of [0, 255]',
    ),
    Rule(
        ('*_evaluator*.topk', 'model.head.topk'),
        lambda value: all(is_whole(k, 1) for k in ([value] if is_whole(value, 1) else value)),
        'whole numbers of at least 1, such as (1, 5)',
    ),
)


def check_values(cfg: Config) -> None:
    """Refuse values that lead to an obscure error, or to none.

    Raises:
        ValueError: Naming the key, the value and what it must be.
    """
    for path, value in _settings(cfg):
        for rule in RULES:
            matches = any(fnmatch.fnmatchcase(path, pattern) for pattern in rule.paths)
            if matches and not rule.allows(value):
                raise ConfigError(f'{path}={reprlib.repr(value)} must be {rule.remedy}')


def _settings(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Every setting below a config, of whatever type, with its dotted path."""
    if path:
        yield path, value
    items: Any = ()
    if isinstance(value, (dict, Config)):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, item in items:
        yield from _settings(item, f'{path}.{key}' if path else str(key))
