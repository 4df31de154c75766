"""The trained students that mmbss ships, by name: zoo/NAME, as tools/export.py wrote it."""

from functools import cache
from pathlib import Path
from typing import Any

from mmbss.engine.errors import MissingFileError

#: What stands before the name of a model where weights are named.
SCHEME = 'mmbss://'
ZOO = Path(__file__).parents[2] / '.mim' / 'zoo'


def weights_of(source: str) -> Path:
    """File of the weights of a model of the zoo, ``mmbss://NAME``.

    Raises:
        MissingFileError: If the zoo has no model of this name.
    """
    files = {path.parent.name: path for path in ZOO.glob('*/student.safetensors')}
    name = source.removeprefix(SCHEME)
    if name not in files:
        known = ', '.join(sorted(files)) or 'none: install mmbss again'
        raise MissingFileError(f'the zoo has no model {name!r}; those that it has: {known}')
    return files[name]


@cache
def register(model: Any) -> None:
    """Have ``get_model``, of ``mmpretrain.apis.model``, know the models of the zoo."""
    metafile = ZOO / 'metafile.yml'
    if metafile.is_file():  # a checkout that has not been installed carries none
        model.ModelHub.register_model_index(metafile, config_prefix=ZOO.parent)
