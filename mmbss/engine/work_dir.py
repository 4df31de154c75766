"""One run at a time in a work dir, and none that overwrites an earlier one."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.config import Config

from mmbss.engine.errors import ConfigError, FileError
from mmbss.engine.files.atomic import PART, remove_parts, whole_file
from mmbss.engine.processes.this_process import is_first_process
from mmbss.engine.resume import check_free, checkpoint_folder, templates_of


@contextmanager
def claimed_work_dir(cfg: Config) -> Iterator[None]:
    """Keep other runs out of the folders of a run; a killed process gives them free.

    Which of several processes this is decides ``cfg.launcher``: without one, each claims for
    itself, and only one of them gets it.

    Args:
        cfg: Config of a run. Its work dir, and the folder of its checkpoints, are made if they are
            missing, and what a killed process has left half written in them is removed.

    Raises:
        FileError: If a folder cannot be written to.
        ConfigError: If another run is using one, or it holds checkpoints that a run from the start
            would overwrite.
    """
    checkpoints = checkpoint_folder(cfg)
    folders = dict.fromkeys(path for path in (Path(cfg.work_dir), checkpoints) if path is not None)
    for folder in folders:
        check_writable(folder)
    if not is_first_process(cfg.get('launcher', 'none')):
        yield
        return
    with ExitStack() as claims:
        for folder in folders:
            claims.enter_context(claimed(folder))
            remove_parts(folder)
        if checkpoints is not None and not cfg.get('resume'):
            check_free(checkpoints, templates_of(cfg), 'a run from the start')
        yield


def check_writable(folder: Path) -> None:
    """Refuse a folder, made if it is missing, in which no file can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (probe := folder / f'.probe-{os.getpid()}{PART}').touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(
            f'the work dir {folder} cannot be written to ({error.strerror}): choose another '
            '--work-dir'
        ) from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder; a killed one gives it free.

    Raises:
        ConfigError: If another process has it.
    """
    lock, owner = FileLock(folder / '.lock'), folder / '.lock-owner'
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        name = owner.read_text() if owner.is_file() else 'another process'
        several = ', or start several processes of one run with --launcher pytorch'
        raise ConfigError(
            f'{folder} is in use by {name}: wait for it, or choose another --work-dir'
            f'{several if "TORCHELASTIC_RUN_ID" in os.environ else ""}'
        ) from error
    with whole_file(owner) as part:
        part.write_text(f'process {os.getpid()} on {socket.gethostname()}')
    try:
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def put_aside(folder: Path) -> Path | None:
    """Rename a folder, so that one can begin anew and nothing is lost.

    Returns:
        Its new name, ``replaced_N_<name>``; None where there was nothing.

    Raises:
        ConfigError: If a process works in it, such as this one.
    """
    if not folder.exists():
        return None
    if Path.cwd().is_relative_to(folder.resolve()):
        raise ConfigError(f'{folder} cannot be put aside from within: call from another folder')
    for lock in folder.rglob('.lock'):
        with claimed(lock.parent):
            pass
    number = 0
    while (new := folder.with_name(f'replaced_{number}_{folder.name}')).exists():
        number += 1
    return folder.rename(new)
