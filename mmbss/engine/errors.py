"""Errors that explain what is wrong with the input, in one line."""

import re
import reprlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType


class ConfigError(ValueError):
    """A mistake of the user, in one line: what is wrong, where, and what to do about it."""


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
            sys.exit(f'error: {what}: {one_line(error)}: correct these settings')
        is_explained = frame.f_globals.get('__name__', '').startswith(EXPLAINED_MODULES)
        if of_worker := WORKER_ERROR.match(str(error)):
            is_explained = Path(of_worker[1]).is_relative_to(Path(__file__).parents[1])
        if not is_explained or not isinstance(error, EXPLAINED_ERRORS):
            raise
        sys.exit(f'error: {one_line(error)}')


def one_line(error: BaseException) -> str:
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
