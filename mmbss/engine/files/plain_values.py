"""What a pickle of weights may build, each checked: tensors within their storages and plain values.

Arrays of NumPy become tensors, and the histories of mmengine dicts of them.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from types import NoneType
from typing import Any

import torch
from torch import Tensor

#: What may be a key, or the element of a set: the hash of a nested tuple ends the interpreter.
KEYS = (str, int, float, bool, bytes, NoneType)
#: Containers in each other, and sizes of a tensor.
MAX_DEPTH = 64
#: Elements that a tensor may show of a smaller storage, as after ``expand``.
MAX_EXPANDED = 1 << 24

_NEW_DTYPES = ('uint16', 'uint32', 'uint64', 'float8_e4m3fn', 'float8_e5m2')
STORAGES = dict(
    DoubleStorage=torch.float64,
    FloatStorage=torch.float32,
    HalfStorage=torch.float16,
    BFloat16Storage=torch.bfloat16,
    LongStorage=torch.int64,
    IntStorage=torch.int32,
    ShortStorage=torch.int16,
    CharStorage=torch.int8,
    ByteStorage=torch.uint8,
    BoolStorage=torch.bool,
    ComplexFloatStorage=torch.complex64,
    ComplexDoubleStorage=torch.complex128,
)
DTYPES = {*STORAGES.values(), *(getattr(torch, name) for name in _NEW_DTYPES)}
#: Those of NumPy's arrays, by the names that NumPy gives them.
NUMPY_DTYPES = {
    **dict(f8=torch.float64, f4=torch.float32, f2=torch.float16, u1=torch.uint8, b1=torch.bool),
    **dict(i8=torch.int64, i4=torch.int32, i2=torch.int16, i1=torch.int8),
}


class RefusedPickleError(ValueError):
    """A pickle that holds more than plain values and tensors, or is none."""


def require(condition: object, problem: str = 'it is damaged') -> None:
    """Refuse the pickle unless a condition holds."""
    if not condition:
        raise RefusedPickleError(problem)


@dataclass(frozen=True)
class Storage:
    """Memory of tensors, as :mod:`mmbss.engine.files.torch_files` has read it."""

    memory: torch.UntypedStorage
    dtype: torch.dtype


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names, not looked up anywhere."""

    name: str


@dataclass(frozen=True)
class NumpyType:
    """A dtype of NumPy."""

    dtype: torch.dtype


class History(dict[str, Any]):
    """The values and counts of a history of mmengine, and its ``max_length``."""


def checked_key(key: Any) -> Any:
    """A key of a dict, or an element of a set."""
    require(type(key) in KEYS, f'it has a key that is a {type(key).__name__}')
    return key


def sizes(values: Any) -> tuple[int, ...]:
    """The sizes or strides of a tensor."""
    require(isinstance(values, tuple | list) and len(values) <= MAX_DEPTH)
    require(all(type(value) is int and value >= 0 for value in values))
    return tuple(values)


def from_bytes(content: bytes, dtype: torch.dtype) -> Tensor:
    """A copy of an array's memory, one dimension."""
    require(len(content) % dtype.itemsize == 0, 'it holds a damaged array')
    if not content:
        return torch.empty(0, dtype=dtype)
    if dtype is torch.bool:  # any other byte is no bool, and torch relies on that
        return torch.frombuffer(bytearray(content), dtype=torch.uint8) != 0
    return torch.frombuffer(bytearray(content), dtype=dtype)


def array(state: Any) -> Tensor:
    """The array that NumPy has stored."""
    require(type(state) is tuple and len(state) == 5, 'it holds a damaged array')
    _, shape, kind, fortran, content = state
    shape = sizes(shape)
    require(isinstance(kind, NumpyType) and type(content) is bytes, 'it holds no plain array')
    values = from_bytes(content, kind.dtype)
    require(prod(shape) == len(values), 'it holds an array of another size than its content')
    if fortran is True:
        return values.reshape(shape[::-1]).permute(*reversed(range(len(shape))))
    return values.reshape(shape)


def fill(target: Any, state: Any) -> None:
    """Give an object the state that a pickle has stored for it."""
    if isinstance(target, OrderedDict):  # torch notes the versions of modules in this way
        require(type(state) is dict and state.keys() <= {'_metadata'})
        require(isinstance(state.get('_metadata', {}), dict))
        vars(target).update(state)
    elif type(target) is History:
        require(type(state) is dict)
        for name in ('log_history', 'count_history'):
            target[name] = state.get(f'_{name}')
        target['max_length'] = state.get('max_length')
    elif type(target) is NumpyType:
        plain = type(state) is tuple and state[:2] in ((3, '<'), (3, '|'))
        plain = plain and state[2:5] == (None, None, None)
        require(plain, 'it holds an array of structures, or of another byte order')
    else:
        raise RefusedPickleError('it fills what is no array')


# ---------------------------------------------------------------- what a pickle may call


def _ordered_dict(pairs: Any = ()) -> OrderedDict[Any, Any]:
    require(type(pairs) in (list, tuple))
    result: OrderedDict[Any, Any] = OrderedDict()
    for pair in pairs:
        require(type(pair) in (list, tuple) and len(pair) == 2)
        result[checked_key(pair[0])] = pair[1]
    return result


def _counter(counts: Any = ()) -> Counter[Any]:
    require(type(counts) is dict or counts == ())
    return Counter(dict(counts))


def _set(items: Any = ()) -> set[Any]:
    require(type(items) in (list, tuple))
    return {checked_key(item) for item in items}


def _bytes(text: Any, encoding: Any) -> bytes:
    require(type(text) is str and encoding == 'latin1')
    return text.encode('latin1')


def _device(kind: Any, index: Any = None) -> torch.device:
    require(type(kind) is str and type(index) in (int, NoneType))
    return torch.device(kind) if index is None else torch.device(kind, index)


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    """One that lies within its storage."""
    require(isinstance(storage, Storage), 'it holds a tensor without a storage')
    size, stride = sizes(size), sizes(stride)
    ok = type(offset) is int and offset >= 0 and len(size) == len(stride) and not metadata
    require(ok, 'it holds a tensor with a strange layout')
    count = prod(size)
    if count:
        offset_of_last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        available = storage.memory.nbytes() // storage.dtype.itemsize
        require(offset + offset_of_last < available, 'it holds a tensor beyond its storage')
        require(count <= max(available, MAX_EXPANDED), 'it holds a tensor larger than its storage')
    else:
        offset = 0
        require(max(size) < 1 << 48, 'it holds a tensor with a strange layout')
    return torch.empty(0, dtype=storage.dtype).set_(storage.memory, offset, size, stride)


def _tensor_of_dtype(storage: Any, *arguments: Any) -> Tensor:
    """The same of a dtype that has no storages of its own."""
    *others, dtype = arguments[:6]
    require(isinstance(storage, Storage), 'it holds a tensor without a storage')
    require(type(dtype) is torch.dtype and dtype in DTYPES, 'it holds a tensor of no usual dtype')
    return _tensor(Storage(storage.memory, dtype), *others, *arguments[6:])


def _parameter(tensor: Any, requires_grad: Any, hooks: Any) -> Tensor:
    require(isinstance(tensor, Tensor), 'it holds a parameter that is no tensor')
    return tensor


def _with_attributes(function: Any, kind: Any, arguments: Any, attributes: Any) -> Tensor:
    """A tensor to which somebody, such as FSDP, has given attributes, without them."""
    of_tensor = isinstance(function, Name) and CALLS.get(function.name) in TENSORS
    require(of_tensor and type(arguments) is tuple, 'it calls what is no function')
    return CALLS[function.name](*arguments)


def new_array(kind: Any, shape: Any, code: Any) -> Tensor:
    """An array that is to be filled."""
    return torch.empty(0)


def _scalar(kind: Any, content: Any) -> float:
    require(isinstance(kind, NumpyType) and type(content) is bytes, 'it holds no plain number')
    require(len(content) == kind.dtype.itemsize, 'it holds a damaged number')
    return from_bytes(content, kind.dtype).item()


def _numpy_type(code: Any, align: Any = False, copy: Any = True) -> NumpyType:
    require(type(code) is str and code in NUMPY_DTYPES, f'it holds an array of {code!r:.20}')
    return NumpyType(NUMPY_DTYPES[code])


def _statistic(owner: Any, name: Any) -> None:
    """The methods of a history, which mmengine stores, are those that mmengine has."""
    require(owner == Name(HISTORY), f'it looks up {name!r:.40}')


HISTORY = 'mmengine.logging.history_buffer HistoryBuffer'
TENSORS = (_tensor, _tensor_of_dtype, _parameter)
CALLS: dict[str, Callable[..., Any]] = {
    'collections OrderedDict': _ordered_dict,
    'collections Counter': _counter,
    '__builtin__ set': _set,
    'builtins set': _set,
    '_codecs encode': _bytes,
    '__builtin__ bytes': lambda: b'',  # what is not empty goes by the line above
    'torch Size': lambda size: torch.Size(sizes(size)),
    'torch device': _device,
    'torch._utils _rebuild_tensor': _tensor,
    'torch._utils _rebuild_tensor_v2': _tensor,
    'torch._utils _rebuild_tensor_v3': _tensor_of_dtype,
    'torch._utils _rebuild_parameter': _parameter,
    'torch._tensor _rebuild_from_type_v2': _with_attributes,
    HISTORY: lambda: History(),
    '__builtin__ getattr': _statistic,
    'builtins getattr': _statistic,
    'numpy dtype': _numpy_type,
    # NumPy 2 calls the same module by another name
    'numpy._core.multiarray _reconstruct': new_array,
    'numpy.core.multiarray _reconstruct': new_array,
    'numpy._core.multiarray scalar': _scalar,
    'numpy.core.multiarray scalar': _scalar,
}
STORAGE_NAMES = {
    **{f'torch {name}': dtype for name, dtype in STORAGES.items()},
    'torch UntypedStorage': torch.uint8,
    'torch.storage UntypedStorage': torch.uint8,
}
DTYPE_NAMES = {str(dtype).replace('.', ' '): dtype for dtype in DTYPES}
#: What may be named, but not called.
OTHER_NAMES = {*STORAGE_NAMES, 'numpy ndarray', 'torch Tensor', 'torch.nn.parameter Parameter'}
