"""What hooks count: numbers, tensors, and lists and dicts of them, which a checkpoint can hold."""

import io
import math
import pickle
import zlib
from collections import Counter, OrderedDict
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from mmengine.utils import apply_to
from torch import Tensor, nn

from mmbss.engine.finite import named_tensors

NUMBERS = (bool, int, float, type(None))
#: Numbers of NumPy with which Python's own go on in the same way; others would round differently.
OF_NUMPY = (np.bool_, np.int64, np.float64)
#: Numbers up to which a value is taken for something that is counted, not for a store.
MOST = 2**16
#: Bytes up to which the content of anything else is looked at.
MOST_BYTES = 2**20
LIBRARIES = ('mmengine', 'mmpretrain', 'mmbss')
#: Of these, which one it is is all that is looked at.
BY_NAME = (nn.Module, type, FunctionType, MethodType, BuiltinFunctionType)


def is_plain(value: Any) -> bool:
    """Whether a checkpoint can hold it, and it is not too large."""
    try:
        return amount(value) <= MOST
    except RecursionError:  # a list may hold itself
        return False


def amount(value: Any) -> float:
    """How many numbers it holds; infinity for anything else."""
    kind = type(value)
    if kind in (list, tuple):
        return 1 + sum(map(amount, value))
    if kind is set:
        return 1 + len(value) if all(type(item) in NUMBERS for item in value) else math.inf
    if kind in (dict, Counter, OrderedDict):
        named = all(type(key) in (int, str) for key in value)
        return 1 + sum(map(amount, value.values())) if named else math.inf
    if kind is Tensor:
        return value.numel()
    return 1 if kind in NUMBERS or kind in OF_NUMPY else math.inf


def copied(value: Any) -> Any:
    """A copy of a value of :func:`is_plain`, on the CPU; numbers of NumPy become Python's."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return type(value)({key: copied(item) for key, item in value.items()})
    if isinstance(value, (list, tuple, set)):
        return type(value)(map(copied, value))
    return value.item() if isinstance(value, np.generic) else value


def is_on_cpu(value: Any) -> bool:
    """Whether no tensor in a value of :func:`is_plain` is on another device."""
    return all(tensor.device.type == 'cpu' for _, tensor in named_tensors(value))


def moved(value: Any, device: torch.device) -> Any:
    """A value of :func:`is_plain` with all of its tensors on a device."""
    return apply_to(value, _is_tensor, lambda tensor: tensor.to(device))


def same(one: Any, other: Any) -> bool:
    """Whether two values of :func:`copied` are equal, as NaN is to itself."""
    texts = (repr(apply_to(value, _is_tensor, Tensor.tolist)) for value in (one, other))
    return len({*texts}) == 1


class _Content(pickle.Pickler):
    """Writes what a value holds, and of what is large or has its own checkpoint which one it is."""

    def persistent_id(self, part: Any) -> Any:
        """None for what is written by its content."""
        if isinstance(part, Tensor):
            return id(part), part._version  # which counts changes in place
        is_of_library = type(part).__module__.partition('.')[0] in LIBRARIES
        return id(part) if is_of_library or isinstance(part, BY_NAME) else None


class _Short(io.BytesIO):
    def write(self, part: Any) -> int:
        if self.tell() + len(part) > MOST_BYTES:
            raise OverflowError
        return super().write(part)


def trace(value: Any) -> int:
    """A number that changes when anything changes in a value that cannot be stored.

    Of what is too large, or does not tell what it holds, only another object is noticed.
    """
    stream = _Short()
    try:
        _Content(stream, protocol=5).dump(value)
    except Exception:  # objects of others raise anything
        return id(value)
    return zlib.crc32(stream.getvalue())


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)
