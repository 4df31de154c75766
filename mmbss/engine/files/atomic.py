"""Files that are either whole or not there."""

import errno
import glob
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmbss.engine.errors import ConfigError, FileError

#: Ending of a file that is being written.
PART = '.part'
#: What the user can do something about.
OF_THE_DISK = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EIO),
)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write a file that appears under its name only when it is complete and on the disk.

    A file that is there already stays as it is until then, and for good if there is an error.
    Several processes may write the same file: the last of them wins. What killed processes have
    left of the same file is removed first.

    Args:
        path: The file; missing folders are made.

    Yields:
        Where to write meanwhile: a name in the same folder, which ends in :data:`PART`.

    Raises:
        FileError: If the disk is full or the file cannot be written.
    """
    path = Path(path)
    begin = f'.{path.name}.{platform.node()}-'
    part = path.with_name(f'{begin}{os.getpid()}{PART}')
    try:
        with naming_the_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            for other in _left_over(path.parent, begin):
                other.unlink(missing_ok=True)
            yield part
            with part.open('rb+') as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Fill an empty folder; its files appear when all are complete, and else none does.

    Args:
        folder: It may be missing, or hold what a killed process has left half written, which is
            removed first.

    Yields:
        Where to write meanwhile: a folder within.

    Raises:
        ConfigError: If the folder is a file, or holds anything.
        FileError: If the disk is full or the folder cannot be written.
    """
    check_empty(folder)
    begin, known = f'.{platform.node()}-', folder.exists()
    part = folder / f'{begin}{os.getpid()}{PART}'
    try:
        with naming_the_disk(folder):
            for other in _left_over(folder, begin):
                shutil.rmtree(other)
            part.mkdir(parents=True)
            yield part
            for file in sorted(part.iterdir()):
                file.rename(folder / file.name)
            part.rmdir()
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        if not known:
            with suppress(OSError):
                folder.rmdir()
        raise


def check_empty(folder: Path) -> None:
    """Refuse to write among other files.

    Raises:
        ConfigError: If the folder is a file, or holds more than what a killed process has left.
    """
    there = {*folder.iterdir()} if folder.is_dir() else {folder}
    if os.path.lexists(folder) and there.difference(_left_over(folder, f'.{platform.node()}-')):
        raise ConfigError(f'{folder} is not empty: remove it, or choose another folder')


@contextmanager
def naming_the_disk(path: Path) -> Iterator[None]:
    """Say which file or folder could not be written.

    Raises:
        FileError: If the disk is full or does not let it be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        raise FileError(
            f'{path} could not be written ({error.strerror}); what was there before is intact: '
            'make room, or choose another place'
        ) from error


def _left_over(folder: Path, begin: str) -> list[Path]:
    """What processes of this machine that have ended left half written under such names."""
    return [
        path
        for path in folder.glob(f'{glob.escape(begin)}*{PART}')
        if not is_running(path.name.removeprefix(begin).removesuffix(PART))
    ]


def is_running(process: str) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def remove_parts(folder: Path) -> None:
    """Remove what a killed process has left half written."""
    for part in folder.glob(f'.*{PART}'):
        part.unlink(missing_ok=True)
