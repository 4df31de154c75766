"""Checkpoint files that are either whole or not there."""

import zipfile
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from mmbss.engine.atomic import whole_file
from mmbss.engine.errors import ConfigError
from mmbss.engine.files import opened


@register_backend('AtomicLocalBackend', force=True)
class AtomicLocalBackend(LocalBackend):
    """Local files that appear under their name only once they are complete and on the disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file; one that is there already stays as it is until the new one is whole.

        Args:
            obj: Content.
            filepath: Where to write it; missing folders are made.

        Raises:
            FileError: If the disk is full or the file cannot be written.
        """
        with whole_file(filepath) as part:
            part.write_bytes(obj)


def check_intact(path: Path) -> None:
    """Read a checkpoint of ``torch.save`` once, without unpickling it.

    Raises:
        ConfigError: If it is truncated or damaged, or no such file at all.
    """
    try:
        with opened(path) as (file, _), zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except ConfigError:
        raise
    # zipfile has several for an archive that somebody has made up
    except Exception as error:
        raise ConfigError(f'{path} is truncated or no checkpoint ({error})') from error
    if damaged is not None:
        raise ConfigError(f'{path} is damaged (in {damaged})')
