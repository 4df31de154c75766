"""Files that are either whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Ending of a file that is being written.
PART = '.part'


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write a file that appears under its name only when it is complete and on the disk.

    A file that is there already stays as it is until then, and for good if there is an error.
    Several processes may write the same file: the last of them wins.

    Args:
        path: The file; missing folders are made.

    Yields:
        Where to write meanwhile: a name in the same folder, which ends in :data:`PART`.

    Raises:
        OSError: If the disk is full or the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f'.{path.name}.{os.getpid()}{PART}')
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        with part.open('rb+') as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove what a killed process has left half written."""
    for part in folder.glob(f'.*{PART}'):
        part.unlink(missing_ok=True)
