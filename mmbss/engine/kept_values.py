"""What hooks count, as numbers, tensors, lists and dicts of them, which a checkpoint can hold."""

import io
import math
import pickle
import zlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from mmengine.utils import apply_to
from torch import Tensor, nn

NUMBERS = (bool, int, float, type(None))
#: Numbers up to which a value is taken for something that is counted, not for a store.
MOST = 2**16
#: Bytes up to which the content of anything else is looked at.
MOST_BYTES = 2**20
LIBRARIES = ('mmengine', 'mmpretrain', 'mmbss')
#: Of these, which one it is is all that is looked at.
BY_NAME = (nn.Module, type, FunctionType, MethodType, BuiltinFunctionType)
#: What is stored as a dict with the number of its place here; others may be added at the end.
KINDS: Any = (Counter, OrderedDict, defaultdict, deque, set, frozenset, np.ndarray, np.generic)
KIND = '(kind)'
FACTORIES: Any = (None, int, float, list, dict, set)
DTYPES = [np.dtype(name) for name in ('?', 'u1', 'i1', 'i2', 'i4', 'i8', 'f2', 'f4', 'f8')]


def is_plain(value: Any) -> bool:
    """Whether :func:`packed` can store it, and it is not too large."""
    return amount(value) <= MOST


def amount(value: Any) -> float:
    """How many numbers it holds; infinity for anything else."""
    kind = type(value)
    if kind in (list, tuple, deque, set, frozenset):
        return 1 + sum(map(amount, value))
    if kind in (dict, Counter, OrderedDict, defaultdict):
        named = all(type(key) in (int, str) for key in value)
        known = getattr(value, 'default_factory', None) in FACTORIES
        return 1 + sum(map(amount, value.values())) if named and known else math.inf
    if kind is Tensor:
        return value.numel()
    if kind is np.ndarray or isinstance(value, np.generic):
        return value.size if value.dtype in DTYPES else math.inf
    return 1 if kind in NUMBERS else math.inf


def packed(value: Any) -> Any:
    """A copy of a value of :func:`is_plain` in numbers, tensors, lists, tuples and dicts alone.

    Examples:
        >>> unpacked(packed(deque([1, 2], maxlen=2)))
        deque([1, 2], maxlen=2)
    """
    kind = type(value)
    if kind is Tensor:
        return value.detach().cpu().clone()
    if isinstance(value, (np.ndarray, np.generic)):
        number = KINDS.index(np.generic if isinstance(value, np.generic) else np.ndarray)
        return {KIND: number, 'items': torch.from_numpy(np.array(value))}
    items: Any = value
    if isinstance(value, dict):
        items = {key: packed(item) for key, item in value.items()}
    elif kind in (list, tuple, deque):
        items = [packed(item) for item in value]
    elif kind in (set, frozenset):
        items = [packed(item) for item in sorted(value, key=repr)]
    if kind not in KINDS:
        return tuple(items) if kind is tuple else items
    more = FACTORIES.index(value.default_factory) if kind is defaultdict else None
    return {KIND: KINDS.index(kind), 'items': items, 'more': getattr(value, 'maxlen', more)}


def unpacked(value: Any) -> Any:
    """What :func:`packed` was given.

    Raises:
        ValueError: If it is nothing of that.
    """
    if type(value) in (list, tuple):
        return type(value)(map(unpacked, value))
    if type(value) is not dict:
        return value.clone() if isinstance(value, Tensor) else value
    if KIND not in value:
        return {key: unpacked(item) for key, item in value.items()}
    try:
        kind, items, more = KINDS[value[KIND]], unpacked(value['items']), value.get('more')
        if kind in (np.ndarray, np.generic):
            return items.numpy() if kind is np.ndarray else items.numpy()[()]
        if kind is defaultdict:
            return defaultdict(FACTORIES[more], items)
        return deque(items, more) if kind is deque else kind(items)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f'is not what a hook has counted: {error}') from error


def each_tensor(change: Callable[[Tensor], Any], value: Any) -> Any:
    """A copy with something else in the place of each tensor."""
    return apply_to(value, lambda part: isinstance(part, Tensor), change)


def same(one: Any, other: Any) -> bool:
    """Whether two values of :func:`packed` are equal, as NaN is to itself."""
    one, other = (
        repr(each_tensor(lambda tensor: (tensor.dtype, tensor.tolist()), value))
        for value in (one, other)
    )
    return one == other


@contextmanager
def unchanged_attributes(model: nn.Module) -> Iterator[None]:
    """Leave what the modules of a model count afterwards as it was.

    That is plain attributes, such as ``self.steps += 1`` in a forward pass; buffers are none, and
    anything but numbers, tensors, arrays and their containers stays as it has become.
    """
    of_torch = vars(nn.Module()).keys()  # such as buffers
    attributes = [vars(module) for module in model.modules()]
    before = [
        {
            key: (value, packed(value))
            for key, value in each.items()
            if key not in of_torch and is_plain(value)
        }
        for each in attributes
    ]
    names = [set(each) for each in attributes]
    try:
        yield
    finally:
        for each, had, values in zip(attributes, names, before, strict=True):
            for key in each.keys() - had:
                if is_plain(each[key]):
                    del each[key]
            for key in values.keys() & each.keys():
                value, content = values[key]
                if is_plain(each[key]) and same(packed(each[key]), content):
                    continue
                if isinstance(value, Tensor):  # on its device
                    with torch.no_grad():
                        value.copy_(content)
                each[key] = value if isinstance(value, Tensor) else unpacked(content)


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
