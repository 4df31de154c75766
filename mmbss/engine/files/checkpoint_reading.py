"""Read the checkpoints of anyone: nothing that is in them runs, what cannot be read is named."""

import json
import textwrap
from pathlib import Path
from typing import Any

import torch

from mmbss.engine.class_names import as_names
from mmbss.engine.errors import ConfigError, MissingFileError, one_line
from mmbss.engine.files import zoo
from mmbss.engine.files.download import download
from mmbss.engine.files.regular import opened
from mmbss.engine.files.torch_files import normalise, read_torch_file
from mmbss.engine.finite import named_tensors


def read_checkpoint(source: str | Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Content of a checkpoint: tensors and plain values; a pickle of anything else is refused.

    Args:
        source: Path or ``https://`` URL of a torch file, or of a ``.safetensors`` file; or
            ``mmbss://NAME`` of a model of the zoo.
        map_location: Device of the tensors; None stands for the CPU.

    Raises:
        MissingFileError: If there is no such file.
        FileError: If the file cannot be downloaded.
        ConfigError: If it is no checkpoint, holds more than weights and plain values, is not its
            checksum's, or would come over another protocol than https.
    """
    path = _local(str(source))
    try:
        with opened(path) as (file, size):
            content: Any
            if path.suffix == '.safetensors':
                content = read_safetensors(file.read())
            else:
                content = read_torch_file(file, size)
    except FileNotFoundError as error:
        raise MissingFileError(f'no file {str(source)!r}') from error
    except ImportError:
        raise
    except Exception as error:
        reason = textwrap.shorten(one_line(error), 300)
        raise ConfigError(f'cannot read {source}: {reason}') from error
    state = content.get('state_dict', content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise ConfigError(f'cannot read {source}: it holds a {type(state).__name__}, no weights')
    device = torch.device(map_location or 'cpu')
    for _, tensor in named_tensors(content) if device.type != 'cpu' else ():
        tensor.data = tensor.to(device)
    return content


def trained_classes(meta: Any) -> tuple[str, ...] | None:
    """Names of the classes that a checkpoint was trained on, None where its ``meta`` has none.

    Examples:
        >>> trained_classes(dict(dataset_meta=dict(classes=['cat', 'dog'])))
        ('cat', 'dog')
        >>> trained_classes(dict(dataset_meta=dict(classes=5))) is None  # of somebody else
        True
    """
    of_data = meta.get('dataset_meta') if isinstance(meta, dict) else None
    named = of_data.get('classes') if isinstance(of_data, dict) else None
    return as_names(named)


def read_safetensors(content: bytes) -> dict[str, Any]:
    """Weights, with the names of their classes where :mod:`mmbss.export` wrote them.

    Returns:
        The state dict alone, or ``state_dict`` and ``meta`` as in a checkpoint of mmpretrain.

    Raises:
        ValueError: If the names are no list of texts.
    """
    from safetensors.torch import load

    state = load(content)
    for tensor in state.values():
        normalise(tensor)
    length = int.from_bytes(content[:8], 'little')
    metadata = json.loads(content[8 : 8 + length]).get('__metadata__') or {}
    if not {'classes', 'mmbss'} <= metadata.keys():
        return state
    classes = json.loads(metadata['classes'])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError('its classes are no list of names')
    ''.join(classes).encode()  # halves of characters, which nothing can print
    return dict(state_dict=state, meta=dict(dataset_meta=dict(classes=classes)))


def _local(source: str) -> Path:
    if source.startswith(zoo.SCHEME):
        return zoo.weights_of(source)
    return download(source) if '://' in source else Path(source).expanduser()
