"""Build all that a run needs before it begins; what fails is named by its path in the config."""

import errno
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.optim import OptimWrapperDict
from mmengine.registry import build_from_cfg
from mmengine.runner import Runner

from mmbss.engine.config_checks.entries import INHERITED, Entry, find_entries, misfits
from mmbss.engine.config_checks.rules import missing_files
from mmbss.engine.config_checks.silent import counts_iterations, silent_mistakes
from mmbss.engine.config_checks.untyped import idle_custom_keys, misfits_without_type
from mmbss.engine.errors import (
    LIBRARIES,
    ConfigError,
    is_of_input,
    lines_of,
    one_line,
    problems_of,
    refuse,
)
from mmbss.engine.words import PLACES
from mmbss.registry import RUNNERS

#: Methods of mmengine's runner that build a part of a config, which they name.
BUILDERS = re.compile(r'(?:build|register|set|setup|wrap)_(\w+)')
#: What a run does before its first batch: methods of hooks, and others by the part they read.
OF_HOOKS = ('before_run', 'before_train', 'before_test')
STARTS = dict(
    _init_model_weights='init_cfg',
    _maybe_compile='compile',
    turn_on_activation_checkpointing='activation_checkpointing',
    turn_on_efficient_conv_bn_eval='efficient_conv_bn_eval',
)


def check_config(cfg: Config) -> None:
    """Refuse a config with mistakes that can be seen before anything is built.

    Names of a user's own at the top of a config are left alone, and so is what code takes as
    ``**kwargs``, unless it nearly has a known name.

    Raises:
        ConfigError: With a line for each mistake: the key, its value and what to do about it.
    """
    refuse([*misfits(cfg), *misfits_without_type(cfg), *silent_mistakes(cfg)])


def build_runner(cfg: Config, training: bool = True) -> Runner:
    """Build a runner with all that it needs for its training, or else for a test.

    Raises:
        ConfigError: With a line for each mistake that can be seen before anything is built, or else
            with the first part that cannot be built.
    """
    complete(cfg)
    refuse([*problems_of(check_config, cfg), *missing_files(cfg)])
    try:
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
        build_parts(runner, training)
    except Exception as error:
        if not is_of_input(error):
            raise
        raise ConfigError(*named_lines(error, cfg)) from error
    if idle := idle_custom_keys(cfg, runner.model):
        print_log(
            f'optim_wrapper.paramwise_cfg.custom_keys: no parameter is called {", ".join(idle)}',
            'current',
            logging.WARNING,
        )
    return runner


@contextmanager
def named_start() -> Iterator[None]:
    """Name the part of the config by which a run ends before its first batch.

    Hooks of mmengine look at the rest of the config only then, and weights are initialised.

    Raises:
        ConfigError: With the part, or the class of the hook, and what was wrong with it.
    """
    try:
        yield
    except Exception as error:
        part = starting_part(error)
        if part is None or isinstance(error, ConfigError) or not is_of_input(error):
            raise
        if getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):  # whatever writes
            raise ConfigError(
                f'work_dir: {one_line(error)}: make room there, or take another with --work-dir'
            ) from error
        raise ConfigError(*(f'{part}: {line}' for line in lines_of(error))) from error


def starting_part(error: BaseException) -> str | None:
    """The part of a config, or the hook, that a run was beginning with; None if it had begun."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_name
        if name in STARTS:
            return STARTS[name]
        # mmengine leaves out the frames below this one where it repeats a TypeError
        if name == 'call_hook' and frame.f_locals.get('fn_name') in OF_HOOKS:
            kind = type(frame.f_locals.get('hook'))
            is_known = kind.__module__.partition('.')[0] in LIBRARIES
            return f'hook {kind.__name__}' if is_known else None
    return None


def complete(cfg: Config) -> None:
    """Write into a config what a run takes where it says nothing.

    That is mmpretrain as the scope, and a log that counts iterations if the training does: mmengine
    would write those of epoch 1, and metrics of epoch 0.
    """
    if cfg.get('default_scope') is None:
        cfg.default_scope = 'mmpretrain'
    if not counts_iterations(cfg):
        return
    processor = cfg.get('log_processor') or {}
    if isinstance(processor, dict):  # else it is refused
        cfg.log_processor = {'by_epoch': False, **processor}
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = ConfigDict()
    if isinstance(cfg.default_hooks, dict):
        logger = cfg.default_hooks.setdefault('logger', ConfigDict(type='LoggerHook'))
        if isinstance(logger, dict):
            logger.setdefault('log_metric_by_epoch', False)


def build_parts(runner: Any, training: bool) -> None:
    """Build what mmengine puts off until a run begins, in its order.

    So every random number is drawn where it would have been.
    """
    if not training:
        if runner._test_loop is None:
            raise ConfigError(
                'there is nothing to test on: give test_dataloader, test_cfg and test_evaluator'
            )
        runner.test_loop  # noqa: B018 - builds it
    elif runner.train_loop is not None:
        if isinstance(runner, Runner):  # other runners have no optimizer before they train
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
            if isinstance(runner.optim_wrapper, OptimWrapperDict):
                raise ConfigError(
                    'optim_wrapper gives several optimizers, but a classifier is trained by one: '
                    'give its parts settings of their own there, as paramwise_cfg.custom_keys does'
                )
            runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
            runner.auto_scale_lr = None  # done
            if runner.param_schedulers is not None:
                runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
        runner.val_loop  # noqa: B018


def named_lines(error: Exception, cfg: Config) -> list[str]:
    """What an error says, with the part of the config that was being built, and what to do."""
    entry = entry_of(error, cfg)
    if entry is not None:
        where, cure = f'{entry.path}: ', cure_of(entry, error)
    else:
        where, cure = '' if isinstance(error, ConfigError) else f'{part_of(error)}: ', ''
        if where == 'optim_wrapper: ' and isinstance(error, AssertionError):
            cure = ": on a CPU take type='mmbss.CPUAmpOptimWrapper', or start with --amp"
    return [f'{where}{line}{cure}' for line in lines_of(error)]


def entry_of(error: BaseException, cfg: Config) -> Entry | None:
    """The innermost entry of a config that a registry was building when it failed, if any."""
    built = [
        frame.f_locals['cfg']
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code is build_from_cfg.__code__ and isinstance(frame.f_locals['cfg'], dict)
    ]
    entries = [entry for entry in find_entries(cfg) if isinstance(entry.config, dict)]
    for config in reversed(built):
        for entry in entries:
            # mmengine builds from a copy, without what others take out of it and with what it adds
            needed = {'type': entry.config.get('type'), **entry.arguments}
            if all(repr(config.get(key)) == repr(value) for key, value in needed.items()):
                return entry
    return None


def part_of(error: BaseException) -> str:
    """The part of a config that mmengine's runner was building when it failed."""
    parts = [
        match[1].replace('_loop', '_cfg')
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if (match := BUILDERS.fullmatch(frame.f_code.co_name))
        and frame.f_globals['__name__'].startswith('mmengine.runner')
    ]
    if len(parts) > 1 and parts[-1] in ('dataloader', 'evaluator'):
        return parts[0].replace('cfg', parts[-1])  # of its loop
    return parts[0] if parts else 'the config'


def cure_of(entry: Entry, error: Exception) -> str:
    """What to do about an error at building an entry; empty where its message says enough."""
    if isinstance(error, TypeError) and 'unexpected keyword argument' in str(error):
        return f': remove or correct it; {INHERITED}'
    if entry.key not in ('dataset', 'datasets') or isinstance(error, ConfigError):
        return ''
    given = [key for key in PLACES if entry.config.get(key)]
    places = [f'{entry.path}.{key}={entry.config[key]!r}' for key in given]
    if places and isinstance(error, OSError):
        return f': correct {", ".join(places)} or put the data there'
    return f': look at the lines of {places[-1]}' if 'ann_file' in given else ''
