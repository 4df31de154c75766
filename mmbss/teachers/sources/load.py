"""From what a config calls a teacher to its source."""

import reprlib
from importlib import import_module
from pathlib import Path
from typing import Any

from mmbss.engine.errors import ConfigError
from mmbss.teachers.sources.source import Source

#: Module beside this one that knows a kind of teacher, by the scheme that its names begin with.
SCHEMES = dict(
    timm='timm_models',
    torchvision='torchvision_models',
    hf='huggingface',
    python='python_objects',
    onnx='onnx_file',
)


def load_source(config: Any, checkpoint: str | None, arguments: dict[str, Any] | None) -> Source:
    """Load the network that a config names; its library is imported only now.

    Args:
        config: ``'SCHEME:NAME'`` with one of ``SCHEMES``; the path of an ``.onnx`` file; a
            mmpretrain config (``'package::folder/name.py'`` or a path) or a model dict; or a
            module or a function itself.
        checkpoint: Path or URL of its weights; None where the source brings them.
        arguments: Keyword arguments of what builds it.

    Raises:
        MissingFileError: If there is no such config or checkpoint.
        ConfigError: If the network cannot be built, the checkpoint does not fit, or the library
            that is needed is not installed.
    """
    kind, name = kind_of(config)
    # each has a function load(name, checkpoint, arguments) -> Source
    module = import_module(f'mmbss.teachers.sources.{kind}')
    return module.load(name, checkpoint, dict(arguments or {}))


def kind_of(config: Any) -> tuple[str, Any]:
    """The module that knows a kind of teacher, and the name that it gets.

    Raises:
        ConfigError: If it is none of these.

    Examples:
        >>> kind_of('timm:resnet50'), kind_of('teacher.onnx')
        (('timm_models', 'resnet50'), ('onnx_file', 'teacher.onnx'))
        >>> kind_of('mmpretrain::resnet/resnet50_8xb16_cifar10.py')[0]
        'openmmlab'
    """
    if isinstance(config, dict):
        return 'openmmlab', config
    if not isinstance(config, (str, Path)):
        if callable(config):
            return 'python_objects', config
        said = reprlib.repr(config)
        raise ConfigError(f'teacher.config={said} is neither a name, a dict, a list nor a module')
    config = str(config)
    scheme, colon, name = config.partition(':')
    if colon and scheme in SCHEMES and not name.startswith(':'):
        return SCHEMES[scheme], name
    if Path(config).suffix.lower() == '.onnx':
        return 'onnx_file', config
    return 'openmmlab', config
