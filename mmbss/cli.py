"""What the command line tools share."""

import argparse
import re
import reprlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.runner import Runner

from mmbss.config_agreement import check_outdated
from mmbss.config_check import check_known
from mmbss.config_schema import TOP_LEVEL, check_config
from mmbss.registry import RUNNERS

#: Errors raised in these modules speak of the config or the data, not of a bug.
EXPLAINED_MODULES = (
    '__main__',  # the tool itself
    'mmbss',
    'mmengine.config',
    'mmengine.registry',
    'mmengine.runner',
    'mmengine.utils.path',
    'mmengine.visualization',
)

#: The others are bugs.
EXPLAINED_ERRORS = (
    *(AssertionError, ImportError, KeyError, OSError),
    *(RuntimeError, TypeError, ValueError),
)

#: Errors of these packages while they build something from a config speak of its arguments.
LIBRARIES = ('mmbss', 'mmcv', 'mmengine', 'mmpretrain', 'torch')


class OptionsAction(DictAction):
    """Reads ``KEY=VALUE`` pairs; says which one is none."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """See :class:`argparse.Action`."""
        for value in values:
            if '=' not in value:
                parser.error(f'{option_string}: {value!r} is no KEY=VALUE, without spaces around =')
        super().__call__(parser, namespace, values, option_string)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every tool with a config and a runner has."""
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument('--amp', action='store_true', help='mixed precision; bfloat16 on a CPU')
    parser.add_argument('--no-pin-memory', action='store_true', help='for little memory')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='override settings of the config, such as train_cfg.max_epochs=10 or '
        '"param_scheduler.milestones=[5,8]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # old launchers pass the rank as a flag
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


class CircularBaseError(ValueError):
    """Config files inherit from each other in a circle."""


def check_bases(path: Path, above: tuple[Path, ...] = ()) -> None:
    """Refuse a circle of ``_base_``, which mmengine follows until Python gives up.

    Args:
        path: A config file.
        above: The files that lead to it.

    Raises:
        CircularBaseError: Naming the files.
    """
    if path in above:
        circle = ' -> '.join(map(str, (*above[above.index(path) :], path)))
        raise CircularBaseError(f'_base_ goes round in a circle: {circle}: remove one of them')
    try:
        bases = Config._get_base_files(str(path))
    except SyntaxError:  # perhaps only until mmengine has filled in the variables
        return
    for base in bases:
        if '::' not in base and '{{' not in base:
            check_bases((path.parent / base).resolve(), (*above, path))


def load_config(path: str) -> Config:
    """Read a config file.

    Raises:
        ValueError: In one line with the file and what is wrong with it.
    """
    try:
        check_bases(Path(path).expanduser().resolve())
        cfg = Config.fromfile(path)
    except CircularBaseError as error:
        raise ValueError(f'config {path}: {error}') from None
    except Exception as error:  # a config file is code, which may raise anything
        lines = [
            f' (line {line} of {frame.f_code.co_filename})'
            for frame, line in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_filename.endswith('.py') and frame.f_code.co_name == '<module>'
        ]
        raise ValueError(
            f'config {path}: {type(error).__name__}: {_message(error)}{"".join(lines[-1:])}: '
            'correct the file or its path'
        ) from error
    check_outdated(cfg)  # before defaults take the place of what is missing
    return cfg


def merge_common_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Write launcher, work dir and data loader defaults into the config."""
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if not isinstance(loader, dict):
            continue
        loader.setdefault('collate_fn', dict(type='default_collate'))
        loader.setdefault('pin_memory', torch.cuda.is_available())
        loader.setdefault('persistent_workers', True)
        if args.no_pin_memory:
            loader['pin_memory'] = False


def section(cfg: Config, name: str, flag: str) -> ConfigDict:
    """The part of a config that a flag of the command line changes.

    Raises:
        ValueError: If there is none.
    """
    if not isinstance(cfg.get(name), dict):
        raise ValueError(f'{flag} needs a {name} in the config, got {name}={cfg.get(name)}: add it')
    return cfg[name]


def merge_amp(cfg: Config, args: argparse.Namespace) -> None:
    """Write ``--amp`` into the config of a training: float16 on a GPU, bfloat16 on a CPU."""
    if not args.amp:
        return
    wrapper = section(cfg, 'optim_wrapper', '--amp')
    if torch.cuda.is_available():
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        wrapper.type = 'mmbss.CPUAmpOptimWrapper'


def merge_options(cfg: Config, args: argparse.Namespace) -> None:
    """Write ``--cfg-options`` into the config, which have the last word.

    Raises:
        ValueError: If one goes to a name that nobody reads, or to no place in the config.
    """
    if args.cfg_options is not None:
        names = {key.split('.')[0]: value for key, value in args.cfg_options.items()}
        check_known(names, {*cfg, *TOP_LEVEL}, '--cfg-options: the config')
        try:
            cfg.merge_from_dict(args.cfg_options)
        except (KeyError, TypeError) as error:
            options = ' '.join(f'{key}={value}' for key, value in args.cfg_options.items())
            raise ValueError(
                f'--cfg-options {options} do not fit the config: {_message(error)}: correct the '
                'path of the key'
            ) from error
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        # torch refuses workers that persist where there are none
        if isinstance(cfg.get(name), dict) and not cfg[name].get('num_workers'):
            cfg[name].persistent_workers = False


def build_runner(cfg: Config) -> Runner:
    """Build the runner that the config asks for."""
    check_config(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


#: The error of a data worker: torch writes its traceback, and so its source, into the message.
WORKER_ERROR = re.compile(
    r'Caught \w+ in DataLoader worker process .*^  File "([^"]+)", .*?^\w[\w.]*: (.*)\Z',
    re.DOTALL | re.MULTILINE,
)


@contextmanager
def readable_errors() -> Iterator[None]:
    """End the program with one line where an error explains what is wrong with the input.

    An error from anywhere else, such as the user's own model, keeps its traceback.
    """
    try:
        yield
    except Exception as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        what = _being_built(error.__traceback__)
        if what is not None:
            sys.exit(f'error: {what}: {_message(error)}: correct these settings')
        is_explained = frame.f_globals.get('__name__', '').startswith(EXPLAINED_MODULES)
        if of_worker := WORKER_ERROR.match(str(error)):
            is_explained = Path(of_worker[1]).is_relative_to(Path(__file__).parent)
        if not is_explained or not isinstance(error, EXPLAINED_ERRORS):
            raise
        sys.exit(f'error: {_message(error)}')


def _message(error: BaseException) -> str:
    """What an error says, in one line."""
    said = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if of_worker := WORKER_ERROR.match(said):
        said = of_worker[2]
    return ' '.join(said.split()) or type(error).__name__


def _being_built(trace: TracebackType | None) -> str | None:
    """Class and arguments that a library was given when it failed; None where none was.

    What mmbss says of its own classes needs no such help.
    """
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    if frames[-1].f_globals.get('__name__', '').startswith(('mmbss', 'mmengine.registry')):
        return None
    for frame in reversed(frames):
        kind = frame.f_locals.get('obj_cls')
        if frame.f_code.co_name == 'build_from_cfg' and kind is not None:
            if not kind.__module__.startswith(LIBRARIES):
                return None
            settings = {
                key: reprlib.repr(value)
                for key, value in frame.f_locals['args'].items()
                if isinstance(value, (bool, int, float, str, list, tuple, dict, type(None)))
            }
            return f'{kind.__name__}({", ".join(f"{k}={v}" for k, v in settings.items())})'
    return None
