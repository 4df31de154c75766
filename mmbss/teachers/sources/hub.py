"""Folders with a model: those of the Hugging Face hub, and the weights in them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmbss.engine.errors import ConfigError, FileError, MissingFileError, one_line
from mmbss.engine.extras import named_extra
from mmbss.teachers.sources.weights import read_weights

#: What says how the model is built, and what it wants to see.
CONFIGS = ('config.json', 'preprocessor_config.json', 'processor_config.json')
#: Files of weights, the first that is there counts; of a large model an index names several.
WEIGHTS = ('model.safetensors', 'pytorch_model.bin')


def hub_folder(repo: str, weights: Sequence[str] = WEIGHTS) -> Path:
    """Download a model from the hub, unless it is in its cache.

    Args:
        repo: ``'owner/name'``.
        weights: Names of files of weights, of which the first that the hub has is wanted.

    Returns:
        The folder in the cache.

    Raises:
        FileError: If it cannot be downloaded.
        ConfigError: If huggingface_hub is not installed.
    """
    with named_extra():
        from huggingface_hub import snapshot_download
    for name in weights:
        stem, _, suffix = name.rpartition('.')
        wanted = [*CONFIGS, name, f'{name}.index.json', f'{stem}-*-of-*.{suffix}']
        try:
            folder = Path(snapshot_download(repo, allow_patterns=wanted))
        except Exception as error:  # the network's, the hub's and the cache's own
            raise FileError(
                f'teacher.config: cannot download {repo} from the Hugging Face hub '
                f'({str(error).splitlines()[0]}): without a connection give a local folder or '
                'file of it'
            ) from error
        if files_of(folder, (name,)):
            break
    return folder


def files_of(folder: Path, names: Sequence[str] = WEIGHTS) -> list[Path]:
    """The files of weights in a folder, none where it has none.

    Raises:
        ConfigError: If an index is none, or names files outside its folder.
    """
    for name in names:
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f'{name}.index.json').is_file():
            files = set(read_json(index).get('weight_map', {}).values())
            if any(Path(file).name != file for file in files):
                raise ConfigError(f'{index} names files outside its folder')
            return [folder / file for file in sorted(files)]
    return []


def read_folder(folder: Path, names: Sequence[str] = WEIGHTS) -> Mapping[str, Any]:
    """The state dict of a folder.

    Raises:
        MissingFileError: If there is no file of weights.
        ConfigError: If one cannot be read.
    """
    files = files_of(folder, names)
    if not files:
        raise MissingFileError(f'teacher.config: {folder} has no {" and no ".join(names)}')
    return {name: value for file in files for name, value in read_weights(file)[0].items()}


def read_json(path: Path) -> dict[str, Any]:
    """The mapping that a JSON file holds.

    Raises:
        ConfigError: If it holds none.
    """
    try:
        content = json.loads(path.read_text('utf-8'))
    except ValueError as error:
        raise ConfigError(f'teacher.config: {path} is no JSON file ({one_line(error)})') from error
    if not isinstance(content, dict):
        raise ConfigError(f'teacher.config: {path} holds no mapping')
    return content
