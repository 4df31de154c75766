"""What is asked of any model: the module in its wrapper, its size, its weights, its mode."""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from mmbss.engine.errors import ConfigError


def unwrap(model: nn.Module) -> Any:
    """The module in a wrapper of mmengine, such as that of DDP; any other model itself."""
    # here, because the searches for boundary samples do without mmengine's models
    from mmengine.model import is_model_wrapper

    return model.module if is_model_wrapper(model) else model


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, trainable or frozen.

    Examples:
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(parameter.numel() for parameter in model.parameters())


def load_strictly(model: nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Load weights of which none may be missing, left over or of another shape.

    Args:
        model: The model to fill.
        state: Its state dict.
        where: What does not go together if they do not fit, such as
            ``'teacher.checkpoint: a.pth does not fit teacher.config'``.

    Raises:
        ConfigError: ``where``, and the keys and shapes that differ.
    """
    try:
        model.load_state_dict(state, strict=True)
    except Exception as error:  # what is no state dict fails in many ways
        raise ConfigError(f'{where}: {textwrap.shorten(str(error), 600)}') from error


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode, and afterwards each of its modules into the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
