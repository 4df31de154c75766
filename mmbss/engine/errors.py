"""Mistakes of the user, which end a program in one line each, apart from bugs, which do not."""

import errno
import os
import re
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mmbss.engine.commands import as_called


class ConfigError(ValueError):
    """Mistakes of the user, each in one line: what is wrong, where, and what to do about it.

    Examples:
        >>> print(ConfigError('lr=-1 must be above 0', 'momentum=2 must be below 1'))
        lr=-1 must be above 0
        momentum=2 must be below 1
    """

    def __str__(self) -> str:
        """Its lines."""
        return '\n'.join(map(str, self.args))


class FileError(ConfigError, OSError):
    """A file that cannot be read, written or downloaded."""


class MissingFileError(FileError, FileNotFoundError):
    """A file that is named, but is not there."""


#: Whatever these raise speaks of what they were given.
LIBRARIES = frozenset(
    (
        *('cv2', 'mmcv', 'mmengine', 'mmpretrain', 'torch', 'torchvision'),
        *('onnxruntime', 'timm', 'transformers'),
    )
)
#: What others call for their own ends, so that an error in it speaks of its caller.
SERVANTS = frozenset((*sys.stdlib_module_names, 'numpy', 'PIL')) - {'__main__'}

#: The error of a data worker: torch writes its traceback into the message.
OF_WORKER = re.compile(r'Caught \w+ in .* process \d+\.\n.*^\w[\w.]*: (.*)\Z', re.DOTALL | re.M)


#: Variables in which launchers tell a process its number.
RANKS = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
#: Seconds in which launchers end the others where one process has failed.
PATIENCE = 5.0


@contextmanager
def readable_errors() -> Iterator[None]:
    """End the program with a line for each mistake of the user; all else keeps its traceback.

    Of several processes, the others let the first one say it, and are ended by their launcher.
    """
    try:
        yield
    except ConfigError as error:
        if any(os.environ.get(name, '0') != '0' for name in RANKS):
            time.sleep(PATIENCE)
        sys.exit(as_called('\n'.join(f'error: {line}' for line in lines_of(error))))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            sys.exit(
                f'error: {textwrap.shorten(str(error.filename), 80)}: no file has so long a name'
            )
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        name = one_line(error.filename or 'a file')
        sys.exit(f'error: {name} could not be written ({error.strerror}): make room, and try again')


def lines_of(error: BaseException) -> list[str]:
    """A line for each mistake that an error names, also where a data worker has raised it."""
    if not isinstance(error, ConfigError):
        return [textwrap.shorten(reason_of(error), 600)]
    of_worker = OF_WORKER.match(str(error))
    return [one_line(line) for line in ([of_worker[1]] if of_worker else error.args)]


def reason_of(error: BaseException) -> str:
    """What an error says, in one line; of one that says nothing, the code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    said = str(error) or not frames
    return f'{type(error).__name__}: {one_line(error) if said else frames[-1].line}'


def one_line(text: object) -> str:
    """A text, or what an error says, in one line.

    Examples:
        >>> one_line(KeyError('no key'))
        'no key'
    """
    if isinstance(text, KeyError) and text.args:
        text = text.args[0]
    return ' '.join(str(text).split()) or type(text).__name__


def first_of(texts: Collection[str], most: int = 3, between: str = ', ') -> str:
    """The first of many texts, and how many there are beside them.

    Examples:
        >>> first_of('abcde'), first_of(['lr', 'momentum'])
        ('a, b, c and 2 more', 'lr, momentum')
    """
    more = f' and {len(texts) - most} more' if len(texts) > most else ''
    return f'{between.join([*texts][:most])}{more}'


def is_of_input(error: BaseException) -> bool:
    """Whether an error speaks of what the code was given, and not of a bug in it.

    That is so of a :class:`ConfigError`, and of what a library raises. An error from anywhere else,
    such as a hook of mmbss or a user's own model, is a bug, also where it comes out of NumPy.
    """
    if isinstance(error, ConfigError):
        return True
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = frame.f_globals.get('__name__', '').partition('.')[0]
        if package not in SERVANTS:
            return package in LIBRARIES
    return False


@contextmanager
def naming(part: str) -> Iterator[None]:
    """Say of which part of a config an error speaks, unless it is a bug.

    Args:
        part: Its path, such as ``optim_wrapper.optimizer``.

    Raises:
        ConfigError: The part, and what was wrong with it, in one line.

    Examples:
        >>> import torch
        >>> with naming('optim_wrapper.optimizer'):
        ...     torch.optim.SGD([], lr=0.1)
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: optim_wrapper.optimizer: ValueError: optimizer got an ...
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        if not is_of_input(error):
            raise
        raise ConfigError(*(f'{part}: {line}' for line in lines_of(error))) from error


def refuse(problems: Iterable[str]) -> None:
    """Raise a :class:`ConfigError` if there is any problem."""
    if problems := list(problems):
        raise ConfigError(*problems)


def problems_of(check: Callable[..., Any], *args: Any) -> list[str]:
    """What a function refuses of its arguments, instead of the error that it raises."""
    try:
        check(*args)
    except ConfigError as error:
        return lines_of(error)
    return []
