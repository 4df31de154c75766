"""A model that is tried is afterwards as it was: buffers, gradients, modes and attributes."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbss.engine.errors import LIBRARIES, SERVANTS
from mmbss.engine.finite import dense
from mmbss.engine.models import memory_of_buffers, unchanged_modes

#: What never changes by itself.
FIXED = (
    *(bool, int, float, complex, str, bytes, NoneType, np.generic, torch.dtype, torch.device),
    *(PurePath, Enum, type, FunctionType, MethodType, BuiltinFunctionType),
)
#: What can be emptied and filled again; and what cannot, but may hold what can.
CONTAINERS = (dict, list, set, deque, tuple, frozenset)
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
KNOWN = (*FIXED, *CONTAINERS, *GENERATORS, Tensor, np.ndarray)
#: Bytes of a tensor or an array that is copied; larger ones stay as they have become.
MOST_BYTES = 2**28
#: What :class:`torch.nn.Module` keeps of itself, such as buffers.
OF_TORCH = frozenset(vars(nn.Module()))

PutBack = Callable[[], None]


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Leave modes, buffers, counts and gradients of a model afterwards as they were."""
    buffers = [(memory, memory.clone()) for memory in memory_of_buffers(model)]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        with unchanged_modes(model), unchanged_attributes(model):
            yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for memory, content in buffers:
            memory.copy_(content)


@contextmanager
def unchanged_attributes(model: nn.Module) -> Iterator[None]:
    """Leave what the modules of a model keep as attributes afterwards as it was.

    Such as ``self.steps += 1`` in a forward pass, or ``self.seen.append(x)``; and so tensors,
    arrays, generators of random numbers, containers, and the attributes of objects of the user's
    own, however they lie in each other. Whatever has become of objects of libraries, such as
    modules, files and handles, stays, and so does an object that holds one.
    """
    todo: list[Any] = []
    put_back: list[PutBack] = []
    for module in model.modules():
        parts, action = _attributes(vars(module), OF_TORCH)
        todo += parts
        put_back.append(action)
    seen: dict[int, Any] = {}  # alive, so that no other has their number
    while todo:
        value = todo.pop()
        if id(value) not in seen and not isinstance(value, FIXED):
            seen[id(value)] = value
            for parts, action in _snapshots(value):
                todo += parts
                put_back.append(action)
    try:
        yield
    finally:
        for action in put_back:
            action()


def is_of_library(value: Any) -> bool:
    """Whether it is an object of which nobody here knows what it holds."""
    package = type(value).__module__.partition('.')[0]
    of_library = package in SERVANTS or package in LIBRARIES or package == 'mmbss'
    return isinstance(value, nn.Module) or (of_library and not isinstance(value, KNOWN))


def _snapshots(value: Any) -> Iterator[tuple[list[Any], PutBack]]:
    """What lies in a value, and what makes the value hold just that again."""
    match value:
        case nn.Parameter():
            pass
        case Tensor() if not value.is_meta:
            memory = torch.empty(0, dtype=torch.uint8, device=value.device)
            memory.set_(dense(value.detach()).untyped_storage())
            if len(memory) <= MOST_BYTES:
                yield [], partial(_fill_tensor, memory, memory.clone())
        case np.ndarray() if value.nbytes <= MOST_BYTES:
            parts = list(value.flat) if value.dtype.hasobject else []
            yield parts, partial(_fill_array, value, value.copy())
        case random.Random():
            yield [], partial(value.setstate, value.getstate())
        case np.random.Generator():
            bits = value.bit_generator
            yield [], partial(setattr, bits, 'state', bits.state)
        case np.random.RandomState():
            yield [], partial(value.set_state, value.get_state())
        case torch.Generator():
            yield [], partial(_set_state, value, value.get_state())
        case dict():
            yield [*value.values()], partial(_fill, value, dict(value))
        case list() | set() | deque():
            yield [*value], partial(_fill, value, [*value])
        case tuple() | frozenset():
            yield [*value], lambda: None
        case _ if not isinstance(value, KNOWN) and not is_of_library(value):
            yield from _of_object(value)


def _set_state(generator: torch.Generator, state: Tensor) -> None:
    generator.set_state(state)  # which gives the generator


def _fill_tensor(memory: Tensor, content: Tensor) -> None:
    if not torch.equal(memory, content):  # what has not changed may be of a file, read only
        memory.copy_(content)


def _fill_array(values: np.ndarray, content: np.ndarray) -> None:
    if values.tobytes() != content.tobytes():
        values[...] = content


def _parts(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else [*container]


def _fill(container: Any, content: Any) -> None:
    """Have a container hold the same objects again, in the same order."""
    if [*map(id, _parts(container))] != [*map(id, _parts(content))]:
        container.clear()
        put_in = container.extend if isinstance(container, list | deque) else container.update
        put_in(content)


def _attributes(
    owner: dict[str, Any], others: frozenset[str] = frozenset()
) -> tuple[list[Any], PutBack]:
    """The attributes of an object, but for others, and what puts them back."""
    names = {*owner}
    before = {k: v for k, v in owner.items() if k not in others and not is_of_library(v)}

    def put_back() -> None:
        for name in owner.keys() - names:
            if not is_of_library(owner[name]):
                del owner[name]
        owner.update(before)

    return [*before.values()], put_back


def _of_object(value: Any) -> Iterator[tuple[list[Any], PutBack]]:
    """The same of an object with attributes, or with slots."""
    state: Any = object.__getstate__(value)
    own, slots = state if isinstance(state, tuple) else (state, {})
    if any(map(is_of_library, [*(own or {}).values(), *slots.values()])):
        return
    if own:
        yield _attributes(vars(value))
    for name, part in slots.items():
        yield [part], partial(object.__setattr__, value, name, part)
