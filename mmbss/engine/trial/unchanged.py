"""A model that is tried is afterwards as it was: buffers, gradients, modes and attributes."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import PurePath
from types import NoneType
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmbss.engine.models import gradients_aside, memory_of_buffers

CONTAINERS = (dict, list, set, deque)
#: What a forward pass counts in; anything else that it keeps, such as a hook's handle, stays.
COUNTED = (
    *(bool, int, float, complex, str, bytes, NoneType, np.generic, PurePath, Enum),
    *(*CONTAINERS, tuple, frozenset, Tensor, np.ndarray),
)
#: What :class:`torch.nn.Module` keeps of itself and a forward pass leaves alone.
OF_TORCH = vars(nn.Module()).keys() - {'_buffers', 'training'}


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Leave gradients, buffers, modes and attributes of a model afterwards as they were.

    Attributes of its modules that get another value, as by ``self.steps += 1`` in a forward pass,
    and what is put into a list, dict, set or deque among them. What is changed in place within
    other objects stays as it has become.
    """
    memories = [(memory, memory.clone()) for memory in memory_of_buffers(model)]
    try:
        with gradients_aside(model), unchanged_attributes(model.modules()):
            yield
    finally:
        for memory, content in memories:
            memory.copy_(content)


@contextmanager
def unchanged_attributes(owners: Iterable[Any]) -> Iterator[None]:
    """Leave the attributes of objects as they were, as far as they are :data:`COUNTED`."""
    attributes = [(vars(owner), counted(vars(owner))) for owner in owners]
    contents = [
        (value, dict(value) if isinstance(value, dict) else [*value])
        for _, values in attributes
        for value in values.values()
        if isinstance(value, CONTAINERS)
    ]
    try:
        yield
    finally:
        for owner, values in attributes:
            for name in counted(owner):
                if name in values:
                    owner[name] = values[name]
                else:
                    del owner[name]
        for container, content in contents:
            container.clear()
            put_in = container.extend if isinstance(container, list | deque) else container.update
            put_in(content)


def counted(attributes: dict[str, Any]) -> dict[str, Any]:
    """Those of the attributes of a module that are put back."""
    return {
        name: value
        for name, value in attributes.items()
        if name not in OF_TORCH and isinstance(value, COUNTED)
    }
