"""Weights of a teacher: loaded strictly, or those that it brings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.engine.files.checkpoint_reading import read_checkpoint, trained_classes
from mmbss.engine.fingerprint import weights_digest
from mmbss.engine.models import load_strictly
from mmbss.engine.randomness import own_randomness


def load_weights(model: nn.Module, checkpoint: str) -> Any:
    """Load a checkpoint whose keys and shapes must all match.

    Args:
        model: The model to fill.
        checkpoint: Path or URL of a file with a state dict, on its own or as ``state_dict``.

    Returns:
        The ``meta`` of the checkpoint, which may be anything; None where it has none.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If the file cannot be read, keys or shapes differ, or a weight is not finite;
            names them.
    """
    content = _read(checkpoint)
    fill(model, content.get('state_dict', content), checkpoint)
    return content.get('meta')


def fill(model: nn.Module, state: Mapping[str, Any], checkpoint: str | Path) -> None:
    """Fill a model with weights that must all match.

    Args:
        model: The model to fill.
        state: Its state dict.
        checkpoint: Where they come from, for a message.

    Raises:
        ConfigError: If keys or shapes differ, or a weight is not finite; names them.
    """
    load_strictly(model, state, f'teacher.checkpoint: {checkpoint} does not fit teacher.config')


def read_weights(
    checkpoint: str | Path, key: str = 'state_dict'
) -> tuple[Mapping[str, Any], tuple[str, ...] | None]:
    """Read a file with a state dict, on its own or as ``state_dict``.

    Args:
        checkpoint: Path or URL.
        key: What is taken in its place where it is there, such as averaged weights.

    Returns:
        The state dict, and the names of the classes that it was trained on, None where the file
        does not say them.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If the file cannot be read.
    """
    content = _read(checkpoint)
    state = content.get(key, content.get('state_dict', content))
    return state, trained_classes(content.get('meta'))


def _read(checkpoint: str | Path) -> dict[str, Any]:
    if not isinstance(checkpoint, (str, Path)):
        raise ConfigError(
            f'teacher.checkpoint must be the path or URL of a trained teacher, got {checkpoint!r}'
        )
    try:
        return read_checkpoint(checkpoint)
    except FileNotFoundError as error:
        raise MissingFileError(
            f'teacher.checkpoint: {error}; train the teacher first or correct the path'
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f'teacher.checkpoint: {error}') from error


def build_filled(build: Callable[[], Any], name: str) -> Any:
    """Build a network that brings its weights.

    Weights that another seed changes are random, also where they are those of a new head alone.

    Args:
        build: Makes the network, or another callable.
        name: What to call it in a message.

    Raises:
        ConfigError: If its weights are random.
    """
    with own_randomness(0):
        network = build()
    if not isinstance(network, nn.Module):
        return network
    with own_randomness(1):
        other = build()
    state, others = network.state_dict(), other.state_dict()
    if weights_digest(state) != weights_digest(others):
        drawn = [
            key
            for key in state
            if weights_digest({key: state[key]}) != weights_digest({key: others[key]})
        ]
        raise ConfigError(
            f'teacher.config: {name} would answer with random weights ({drawn[0]}): give '
            'teacher.checkpoint'
        )
    return network
