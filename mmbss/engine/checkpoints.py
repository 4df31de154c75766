"""Checkpoint files: their names, and how they are written."""

import re
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from mmbss.engine.atomic import whole_file
from mmbss.engine.errors import ConfigError


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


def name_pattern(template: str) -> str:
    """Regular expression of what a ``filename_tmpl`` stands for; its one group is the number.

    Examples:
        >>> re.fullmatch(name_pattern('epoch_{}.pth'), 'epoch_12.pth')[1]
        '12'
    """
    return re.sub(r'\\\{.*?\\\}', r'(\\d+)', re.escape(template))


def check_template(template: str) -> None:
    """Refuse a ``filename_tmpl`` of which a resume would not know the files, or their numbers.

    Raises:
        ConfigError: If the names that it makes are not those of :func:`name_pattern`.
    """
    for number in (1, 12, 1234567):
        try:
            name = template.format(number)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            name = ''
        match = re.fullmatch(name_pattern(template), name)
        known = (
            name and match is not None and all(int(digits) == number for digits in match.groups())
        )
        if not known or Path(name).name != name or name.endswith('.safetensors'):
            raise ConfigError(
                f'default_hooks.checkpoint.filename_tmpl={template!r} makes names such as '
                f'{name!r}, which a resume would not know: write one without folders, with the '
                "number as {} or {:04d}, such as 'epoch_{}.pth'"
            )
