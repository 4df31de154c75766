"""Teachers that are Python's: a module or function itself, or what a class or factory makes."""

import copy
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

from torch import nn

from mmbss.engine.build import check_keys
from mmbss.engine.errors import ConfigError, one_line
from mmbss.engine.files.checkpoint_reading import trained_classes
from mmbss.teachers.sources.source import Source
from mmbss.teachers.sources.weights import build_filled, load_weights


def load(name: Any, checkpoint: str | None, arguments: dict[str, Any]) -> Source:
    """Take an object as the teacher, or call it where it is a class or a factory.

    A function that can be called without images, with ``arguments`` alone, is a factory; any other
    is the teacher itself. One whose logits have no gradient may say so by an attribute
    ``differentiable = False``; otherwise it is seen when an attack asks for it.

    Args:
        name: ``'package.module:name'``, or the object.
        checkpoint: Weights of a module. None: it brings them.
        arguments: Keyword arguments of the class or factory.

    Raises:
        ConfigError: If there is no such object, the arguments do not fit, it makes nothing that
            can be called, or its weights would be random.
    """
    thing = find(name) if isinstance(name, str) else name
    said = name if isinstance(name, str) else name_of(thing)
    is_module = isinstance(thing, nn.Module)
    if is_module and arguments:
        raise ConfigError(f'teacher.arguments: {said} is built already: leave them out')
    if is_module:
        network = copy.deepcopy(thing)
    elif not (isinstance(thing, type) or arguments or needs_nothing(thing)):
        network = thing
    else:
        check_keys(arguments, thing, f'teacher.arguments of {said}')

        def build() -> Any:
            return thing(**copy.deepcopy(arguments))

        network = build() if checkpoint is not None else build_filled(build, said)
    if not callable(network):
        raise ConfigError(
            f'teacher.config: {said} gives a {type(network).__name__}, but a teacher is a module '
            'or a function from images to logits'
        )
    if isinstance(network, nn.Module):
        meta = None if checkpoint is None else load_weights(network, checkpoint)
        count = getattr(network, 'num_classes', None)
        return Source(
            network,
            differentiable=getattr(network, 'differentiable', True),
            num_classes=count if isinstance(count, int) and count > 0 else None,
            classes=trained_classes(meta),
        )
    if checkpoint is not None:
        raise ConfigError(
            f'teacher.checkpoint: {said} is no module, so it has no weights to load: leave it out'
        )
    return Source(
        network,
        differentiable=getattr(network, 'differentiable', True),
        digest=name_of(network),
    )


def find(name: str) -> Any:
    """The object of an import path.

    Raises:
        ConfigError: If there is none.

    Examples:
        >>> find('torch.nn:ReLU')
        <class 'torch.nn.modules.activation.ReLU'>
    """
    if not all(name.partition(':')):
        raise ConfigError(
            f"teacher.config: write 'python:package.module:name', got {f'python:{name}'!r}"
        )
    try:
        thing = pkgutil.resolve_name(name)
    except (AttributeError, ImportError, ValueError) as error:
        raise ConfigError(
            f'teacher.config: no {name!r} to import ({one_line(error)}): correct the path, or put '
            'its folder into PYTHONPATH'
        ) from error
    if not callable(thing):
        raise ConfigError(
            f'teacher.config: {name} is a {type(thing).__name__}, but a teacher is a module or a '
            'function from images to logits, or what makes one'
        )
    return thing


def needs_nothing(function: Callable[..., Any]) -> bool:
    """Whether a function can be called without an argument.

    Examples:
        >>> needs_nothing(lambda images: images), needs_nothing(lambda depth=8: None)
        (False, True)
    """
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def name_of(thing: Any) -> str:
    """Where an object comes from, as an import path of it or of its class."""
    named = thing if hasattr(thing, '__qualname__') else type(thing)
    return f'{named.__module__}:{named.__qualname__}'
