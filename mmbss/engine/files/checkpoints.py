"""Checkpoint files: their names, and how they are written."""

import re
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from mmbss.engine.errors import ConfigError
from mmbss.engine.files.atomic import whole_file

#: A name with a number, which may have zeros before it, or with none.
TEMPLATE = re.compile(r'[^/{}]*(\{0?(:(0\d+)?d)?\}[^/{}]*)?')


@register_backend('AtomicLocalBackend', force=True)
class AtomicLocalBackend(LocalBackend):
    """Local files that appear under their name only once they are complete and on the disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file; one that is there already stays as it is until the new one is whole.

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
        ConfigError: If it has folders, or more than one number, or one that is not told again.
    """
    is_known = template and TEMPLATE.fullmatch(template)
    if not is_known or template.endswith('.safetensors'):
        raise ConfigError(
            f'default_hooks.checkpoint.filename_tmpl={template!r} makes names that a resume would '
            'not know: write one without folders, with the number as {} or {:04d}, such as '
            "'epoch_{}.pth'"
        )
