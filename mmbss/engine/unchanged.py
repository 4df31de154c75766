"""A model that is tried is afterwards as it was: buffers, gradients, modes and attributes."""

import random
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor, UntypedStorage, nn

from mmbss.engine.errors import LIBRARIES, SERVANTS
from mmbss.engine.finite import dense
from mmbss.engine.models import memory_of_buffers

#: What never changes by itself.
FIXED = (
    *(bool, int, float, complex, str, bytes, NoneType, np.generic, torch.dtype, torch.device),
    *(PurePath, Enum, type, FunctionType, MethodType, BuiltinFunctionType),
)
#: What can be emptied and filled again; and what cannot, but may hold what can.
CONTAINERS = (dict, list, set, deque, tuple, frozenset)
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
KNOWN = (*FIXED, *CONTAINERS, *GENERATORS, Tensor, UntypedStorage, np.ndarray)
#: Bytes of an attribute that are copied; one with more stays as it has become.
MOST_BYTES = 2**28
#: What :class:`torch.nn.Module` keeps of itself and a forward pass leaves alone.
OF_TORCH = vars(nn.Module()).keys() - {'_buffers', 'training'}

PutBack = Callable[[], Any]


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Leave gradients, buffers, modes and attributes of a model afterwards as they were.

    Attributes such as ``self.steps += 1`` in a forward pass, or ``self.seen.append(x)``; and so
    tensors, arrays, generators of random numbers, containers, and the attributes of objects of the
    user's own, however they lie in each other. Whatever has become of objects of libraries, such as
    modules, files and handles, stays, and so does an object that holds one.
    """
    buffers = memory_of_buffers(model)
    put_back = [_memory(buffer) for buffer in buffers]
    # alive, so that no other has their number
    seen: dict[int, Any] = {id(each): each for each in buffers}
    todo: list[Any] = []
    for module in model.modules():
        todo += _attributes(vars(module), put_back, OF_TORCH)
    while todo:
        value = todo.pop()
        if not isinstance(value, FIXED) and id(value) not in seen:
            seen[id(value)] = value
            todo += _snapshot(value, put_back)
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for action in put_back:
            action()


def is_of_library(value: Any) -> bool:
    """Whether it is an object of which nobody here knows what it holds."""
    if isinstance(value, KNOWN):
        return False
    package = type(value).__module__.partition('.')[0]
    of_library = package in SERVANTS or package in LIBRARIES or package == 'mmbss'
    return of_library or isinstance(value, nn.Module)


def _snapshot(value: Any, put_back: list[PutBack]) -> list[Any]:
    """Add what makes a value hold again what it holds; returns what lies in it."""
    parts: list[Any] = []
    match value:
        case dict():
            put_back.append(partial(_fill, value, dict(value)))
            parts = [*value.values()]
        case list() | set() | deque():
            put_back.append(partial(_fill, value, parts := [*value]))
        case tuple() | frozenset():
            parts = [*value]
        case Tensor():
            # many tensors may share their memory
            is_kept = not (value.is_meta or isinstance(value, nn.Parameter))
            return [dense(value.detach()).untyped_storage()] if is_kept else []
        case UntypedStorage():
            if value.nbytes() <= MOST_BYTES:
                put_back.append(_memory(value))
        case np.ndarray():
            if value.nbytes <= MOST_BYTES:
                put_back.append(partial(_fill_array, value, value.copy()))
                parts = [*value.flat] if value.dtype.hasobject else []
        case random.Random():
            put_back.append(partial(value.setstate, value.getstate()))
        case np.random.Generator():
            bits = value.bit_generator
            put_back.append(partial(setattr, bits, 'state', bits.state))
        case np.random.RandomState():
            put_back.append(partial(value.set_state, value.get_state()))
        case torch.Generator():
            put_back.append(partial(value.set_state, value.get_state()))
    if type(value) in CONTAINERS or is_of_library(value):
        return parts
    if isinstance(value, CONTAINERS) or not isinstance(value, KNOWN):
        parts = [*parts, *_of_object(value, put_back)]
    return parts


def _memory(memory: UntypedStorage) -> PutBack:
    values = torch.empty(0, dtype=torch.uint8, device=memory.device).set_(memory)
    content = values.clone()

    def fill() -> None:
        # what has not changed may be of a file, read only
        if memory.nbytes() == len(content) and not torch.equal(values, content):
            values.copy_(content)

    return fill


def _fill_array(values: np.ndarray, content: np.ndarray) -> None:
    if values.tobytes() != content.tobytes():
        values[...] = content


def _fill(container: Any, content: Any) -> None:
    """Have a container hold the same objects again, in the same order."""
    now, before = (
        [*map(id, each), *map(id, each.values() if isinstance(each, dict) else ())]
        for each in (container, content)
    )
    if now != before:
        container.clear()
        put_in = container.extend if isinstance(container, list | deque) else container.update
        put_in(content)


def _attributes(
    owner: dict[str, Any], put_back: list[PutBack], others: Collection[str] = ()
) -> list[Any]:
    """The attributes of an object, but for others; adds what puts them back."""
    names = {*owner}
    before = {k: v for k, v in owner.items() if k not in others and not is_of_library(v)}

    def fill() -> None:
        for name in owner.keys() - names:
            if not is_of_library(owner[name]):
                del owner[name]
        owner.update(before)

    put_back.append(fill)
    return [*before.values()]


def _of_object(value: Any, put_back: list[PutBack]) -> list[Any]:
    """The same of an object with attributes, or with slots."""
    state: Any = object.__getstate__(value)
    slots = state[1] if isinstance(state, tuple) else {}
    own = vars(value) if hasattr(value, '__dict__') else {}
    if any(map(is_of_library, [*own.values(), *slots.values()])):
        return []
    put_back += [partial(object.__setattr__, value, *slot) for slot in slots.items()]
    return [*slots.values(), *_attributes(own, put_back)]
