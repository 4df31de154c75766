"""One run at a time in a work dir, and none that overwrites an earlier one."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mmbss.engine.errors import ConfigError, FileError


@contextmanager
def claimed_work_dir(folder: Path, resume: bool) -> Iterator[None]:
    """Keep other runs out of a folder; a killed process gives it free.

    Args:
        folder: Work dir of the run, made if it is missing.
        resume: Whether the run goes on from the checkpoints in it.

    Raises:
        FileError: If the folder cannot be written to.
        ConfigError: If another run is using it, or it holds checkpoints that a run from the start
            would overwrite.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (probe := folder / f'.probe-{os.getpid()}').touch()
        probe.unlink()
    except OSError as error:
        raise FileError(
            f'the work dir {folder} cannot be written to ({error.strerror}): choose another '
            '--work-dir'
        ) from error
    if not is_first_process():
        yield
        return
    lock, owner = FileLock(folder / '.lock'), folder / '.lock-owner'
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        name = owner.read_text() if owner.is_file() else 'another process'
        raise ConfigError(
            f'{folder} is in use by {name}: wait for it, or choose another --work-dir'
        ) from error
    try:
        owner.write_text(f'process {os.getpid()} on {socket.gethostname()}')
        kept = sorted([*folder.glob('epoch_*.pth'), *folder.glob('iter_*.pth')])
        if kept and not resume:
            raise ConfigError(
                f'{folder} holds {len(kept)} checkpoints of an earlier run, such as '
                f'{kept[-1].name}, which a run from the start would overwrite: go on with '
                '--resume, choose another --work-dir, or remove them'
            )
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def is_first_process() -> bool:
    """Whether this is the first of the processes that a launcher started, before they connect."""
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return int(next((os.environ[name] for name in names if name in os.environ), '0')) == 0
