"""What is asked of any model: the module in its wrapper, its size, its weights, its mode."""

import itertools
import re
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mmbss.engine.errors import ConfigError, first_of
from mmbss.engine.finite import dense, non_finite

Shapes = dict[str, Any]


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


def device_of(model: nn.Module) -> torch.device:
    """The device of the first tensor of a model; the CPU where it has none."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return next((each.device for each in tensors), torch.device('cpu'))


def load_strictly(model: nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Load weights of which none may be missing, left over, of another shape or not finite.

    Args:
        model: The model to fill.
        state: Its state dict.
        where: What does not go together if they do not fit, such as
            ``'teacher.checkpoint: a.pth does not fit teacher.config'``.

    Raises:
        ConfigError: ``where``, what differs, and the prefix with which more would fit; or the
            weight that holds NaN or infinity.
    """
    try:
        model.load_state_dict(state, strict=True)
    except Exception as error:  # what is no state dict fails in many ways
        differing = misfit(shapes_of(model.state_dict()), shapes_of(state))
        reason = differing or textwrap.shorten(str(error), 600)
        raise ConfigError(f'{where}: {reason}') from error
    if broken := non_finite(model.state_dict()):
        raise ConfigError(f'{where}: NaN or infinity in {broken[0]}')


def shapes_of(state: Mapping[Any, Any]) -> Shapes:
    """The shapes of what has one, ``dict`` for what holds more, by its name."""
    return {
        str(name): dict if isinstance(value, Mapping) else tuple(getattr(value, 'shape', ()))
        for name, value in state.items()
    }


def misfit(own: Shapes, given: Shapes) -> str:
    """What does not fit between the weights of a model and those of a file; empty where all do.

    Examples:
        >>> misfit({'fc.weight': (2, 3)}, {'model.fc.weight': (2, 3)})
        "1 missing (fc.weight); 1 left over (model.fc.weight): without 'model.' before its names ...
        >>> misfit({'fc.weight': (2, 3)}, {'fc.weight': (5, 3)})
        '1 of another shape (fc.weight is (5, 3) instead of (2, 3))'
    """
    missing = [name for name in own if name not in given]
    left_over = [name for name in given if name not in own]
    shapes = [
        f'{name} is {given[name]} instead of {shape}'
        for name, shape in own.items()
        if given.get(name, shape) != shape
    ]
    named = {'missing': missing, 'left over': left_over, 'of another shape': shapes}
    parts = '; '.join(
        f'{len(names)} {kind} ({first_of(names)})' for kind, names in named.items() if names
    )
    within = [name for name in left_over if given[name] is dict]
    if within:
        return f'{parts}: its weights may lie within {within[0]!r}: save them alone'
    removed, of_file = _best_prefix(given, own)
    added, of_part = _best_prefix(own, given)
    if max(of_file, of_part) <= len(own) - len(missing):
        return parts
    if of_file >= of_part:
        return (
            f'{parts}: without {removed!r} before its names {of_file} of {len(own)} would fit: '
            f'save it without, or take that part with prefix={removed!r} where there is such a key'
        )
    return (
        f'{parts}: it seems to be the {added.rstrip(".")} alone, of which {of_part} would fit: '
        "load it with init_cfg=dict(type='Pretrained', checkpoint=...) there"
    )


def _best_prefix(longer: Iterable[str], shorter: Collection[str]) -> tuple[str, int]:
    """The prefix without which most of the longer names are among the shorter, and how many."""
    prefixes = Counter(
        name[: dot.end()]
        for name in longer
        for dot in re.finditer(r'\.', name)
        if name[dot.end() :] in shorter
    )
    return max(prefixes.items(), key=lambda item: item[1], default=('', 0))


def memory_of_buffers(model: nn.Module) -> list[torch.UntypedStorage]:
    """What the buffers of a model lie in, also those that ``expand`` lets nobody write to."""
    return [dense(buffer).untyped_storage() for buffer in model.buffers()]


@contextmanager
def gradients_aside(model: nn.Module) -> Iterator[None]:
    """Leave the gradients of a model afterwards as they were; meanwhile there are none."""
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode, and afterwards each of its modules into the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode
