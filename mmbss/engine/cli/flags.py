"""Flags that several tools have; to read them, nothing heavy is imported."""

import argparse
import os
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from mmbss.engine.errors import ConfigError

#: How a value begins that stays the text it is, because it is no list or tuple after all.
NO_TEXT = ('[', '(', '{', 'dict(', 'list(', 'tuple(')


def new_file(name: str) -> Path:
    """A file that is written after all else is done, so what it cannot be is refused before."""
    if Path(name).is_dir():
        raise argparse.ArgumentTypeError(f'{name} is a folder: name a file in it')
    try:
        check_place(Path(name))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(name)


def check_place(file: Path) -> None:
    """Refuse a file whose folder neither is there nor could be made.

    Raises:
        ConfigError: With the place where there is no folder.
    """
    there = next(each for each in file.absolute().parents if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f'{file} could not be written: {there} is no folder to write in')


class OptionsAction(DictAction):
    """Reads ``KEY=VALUE`` pairs; says which one is none, or has a value that cannot be read."""

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
            if not is_readable(value.partition('=')[2]):
                parser.error(
                    f'{option_string}: {value!r} has brackets that do not fit, or is a dict: '
                    'give a list as "KEY=[1,2]", and of a dict each KEY.SUBKEY=VALUE'
                )
        super().__call__(parser, namespace, values, option_string)


def is_readable(value: str) -> bool:
    """Whether mmengine makes of a value what it looks like.

    Examples:
        >>> [is_readable(value) for value in ('[1,(2,3)]', '[1,2', 'dict(a=1)', 'runs(2)')]
        [True, False, False, True]
    """
    try:
        found = [OptionsAction._parse_iterable(value)]
    except (AssertionError, RecursionError):
        return False
    while found:
        item = found.pop()
        if isinstance(item, (list, tuple)):
            found += item
        elif isinstance(item, str) and item.startswith(NO_TEXT):
            return False
    return True


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every tool with a config and a runner has."""
    parser.add_argument(
        '--work-dir',
        help="folder of logs and checkpoints (default: the config's, or work_dirs/<its name>)",
    )
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
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what has started this process among several',
    )
    # old launchers pass the rank as a flag
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
