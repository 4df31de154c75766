"""Open files that are no trap: no pipes, no devices, nothing larger than the memory."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mmbss.engine.errors import ConfigError


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file that is one, or a link to one, and not larger than this machine's memory.

    Yields:
        The file, and its bytes.

    Raises:
        OSError: If it cannot be opened.
        ConfigError: If it is a pipe, a device, a folder, or too large.
    """
    # O_NONBLOCK: not to wait until somebody writes into a pipe
    descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f'{path} is no file, but a folder, a pipe or a device')
        if status.st_size > memory_size():
            raise ConfigError(f'{path} is larger than the memory of this machine')
        with os.fdopen(descriptor, 'rb', closefd=False) as file:
            yield file, status.st_size
    finally:
        os.close(descriptor)


def memory_size() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
