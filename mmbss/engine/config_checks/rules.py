"""What single settings of a config must be, by patterns of their paths."""

import fnmatch
import logging
import reprlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmbss.engine.config_checks.entries import is_of_known
from mmbss.engine.fitting import allows_number


def setting(cfg: Any, path: str) -> Any:
    """What is at a dotted path of a config; None where that is nothing."""
    for key in path.split('.'):
        cfg = cfg.get(key) if isinstance(cfg, (dict, Config)) else None
    return cfg


def is_whole(value: Any, least: int = 1) -> bool:
    """Whether it is a whole number of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def are_whole(values: Any) -> bool:
    """Whether it is a whole number above 0, or several."""
    return all(map(is_whole, values if isinstance(values, (list, tuple)) else [values]))


def are_ascending(values: Any) -> bool:
    """Whether these are whole numbers above 0, each above the last."""
    return are_whole(values) and list(values) == sorted({*values})


def are_numbers(values: Any) -> bool:
    """Whether these are a list or a tuple of numbers, or None."""
    if values is None:
        return True
    return isinstance(values, (list, tuple)) and not any(isinstance(each, bool) for each in values)


def has_module(name: str) -> bool:
    """Whether a package of that name is installed."""
    return name.isidentifier() and find_spec(name) is not None


def is_there(file: str) -> bool:
    """Whether there is a file, or a URL may have it."""
    return '://' in file or Path(file).expanduser().exists()


SEVERAL = (list, tuple)
Rules = dict[str, tuple[Callable[[Any], bool], str]]
POSITIVE = (lambda value: value > 0, 'a number above 0')
WHOLE = (lambda value: value >= 1 and is_whole(value), 'a whole number of at least 1')
AT_LEAST_1 = (lambda value: value >= 1, 'at least 1')
NOT_NEGATIVE = (lambda value: value >= 0, 'at least 0')

#: What settings must be, by patterns of their paths, where ``*`` stands for anything.
RULES: Rules = {
    'train_cfg.max_* train_cfg.val_interval auto_scale_lr.base_batch_size': AT_LEAST_1,
    'param_scheduler*.T_max param_scheduler*.step_size param_scheduler*.end': WHOLE,
    '*_dataloader.prefetch_factor *_dataloader.num_batch_per_epoch': WHOLE,
    'custom_hooks.*.patience': WHOLE,
    'optim_wrapper.accumulative_counts': (
        lambda value: value >= 1 and value % 1 == 0,
        'a whole number of at least 1',
    ),
    '*_hooks.*.interval *_hooks.*.max_keep_ckpts': (
        lambda value: value == -1 or WHOLE[0](value),
        'a whole number of at least 1 or -1',
    ),
    'randomness.seed param_scheduler*.begin *_dataloader.num_workers': (
        lambda value: value >= 0 and is_whole(value, 0),
        'a whole number of at least 0',
    ),
    'param_scheduler*.eta_min model.head.loss.loss_weight log_processor.num_digits': NOT_NEGATIVE,
    'optim_wrapper.optimizer.lr optim_wrapper.clip_grad.max_norm': POSITIVE,
    'optim_wrapper.clip_grad.clip_value *data_preprocessor.std.*': POSITIVE,
    'param_scheduler*.gamma param_scheduler*.factor': POSITIVE,
    'optim_wrapper.optimizer.momentum': (lambda value: 0 <= value < 1, 'at least 0 and below 1'),
    'custom_hooks.*.momentum': (lambda value: 0 < value < 1, 'above 0 and below 1'),
    'default_scope': (
        lambda value: value is None or (isinstance(value, str) and has_module(value)),
        "a package with registries, such as 'mmpretrain'",
    ),
    'log_level': (lambda value: value in logging.getLevelNamesMapping(), "'DEBUG', 'INFO', ..."),
    '*data_preprocessor.mean *data_preprocessor.std': (
        are_numbers,
        'a list with a number for each channel',
    ),
    '*_hooks.*.published_keys': (  # hooks may add other keys to a checkpoint
        lambda value: value is None or 'state_dict' in value,
        "names with 'state_dict' among them",
    ),
    '*_hooks.*.monitor param_scheduler*.monitor': (
        lambda value: isinstance(value, str),
        'the name of a metric',
    ),
    'runner_type': (
        lambda value: str(value).rpartition('.')[2] != 'FlexibleRunner',
        "'Runner' or one of your own: checkpoints of FlexibleRunner resume an epoch too late",
    ),
    'sync_bn': (lambda value: value in (None, 'torch', 'mmcv'), "'torch', 'mmcv' or None"),
    '*_evaluator*.topk': (are_whole, 'whole numbers of at least 1, such as (1, 5)'),
    '*_hooks.*.save_best': (
        lambda value: not isinstance(value, SEVERAL) or 0 < len(value) == len({*map(str, value)}),
        'names, each once',
    ),
    'param_scheduler*.milestones': (are_ascending, 'ascending whole numbers of at least 1'),
}
#: The same of files, which another machine may have.
FILES: Rules = {
    '*teacher.checkpoint *teacher.config.?.checkpoint': (
        is_there,
        'a checkpoint, but there is no such file: train the teacher first or correct the path',
    ),
    'load_from *init_cfg.checkpoint': (
        is_there,
        'a checkpoint, but there is no such file: correct the path',
    ),
}


def missing_files(cfg: Config) -> Iterator[str]:
    """Checkpoints that are not there; of a config that can be trained, with the command."""
    configs = {
        f'{path}.checkpoint': value['config']
        for path, value in settings_in(cfg)
        if isinstance(value, dict) and isinstance(value.get('config'), str)
    }
    for line in wrong_values(cfg, FILES):
        config = configs.get(line.partition('=')[0], '')
        # models of other libraries are named with a single colon
        is_trainable = '::' in config or Path(config).is_file()
        yield f'{line}; python tools/train.py {config} trains one' if is_trainable else line


def wrong_values(cfg: Config, rules: Rules = RULES) -> Iterator[str]:
    """Settings of the right kind, but out of their range."""
    for path, value in settings_in(cfg):
        for patterns, (allows, words) in rules.items():
            if not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns.split()):
                continue
            try:
                is_right = allows(value)
            except TypeError:  # of another kind, which is refused elsewhere
                continue
            if not is_right and allows_number(path, value) and is_of_known(cfg, path):
                shown = repr(value) if isinstance(value, str) else reprlib.repr(value)
                yield f'{path}={shown} must be {words}'


def settings_in(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Every setting below a config, of whatever type, with its dotted path."""
    yield path.removeprefix('.'), value
    items: Any = enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in value.items() if isinstance(value, (dict, Config)) else items:
        yield from settings_in(item, f'{path}.{key}')
