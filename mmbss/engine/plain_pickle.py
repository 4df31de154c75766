"""Read the pickle in a checkpoint without :mod:`pickle`: what it names is looked up here alone.

``torch.load(weights_only=True)`` lets a file call a few dozen functions of torch with arguments of
its choice, and a tuple nested a million times ends the interpreter there. Here a file gets plain
values, tensors within their storages, and the histories of mmengine, as tensors. Whatever else it
names is refused, and so is what would grow beyond the size of the file.
"""

import pickletools
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from types import NoneType
from typing import IO, Any

import torch
from torch import Tensor

#: What may be a key, or the element of a set: the hash of a nested tuple ends the interpreter.
KEYS = (str, int, float, bool, bytes, NoneType)
#: What there may be beside containers.
LEAVES = (*KEYS, Tensor, torch.Size, torch.device, torch.dtype)
CONTAINERS = (dict, list, tuple, set)
#: Containers in each other.
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
NUMPY_DTYPES = dict(
    f8=torch.float64,
    f4=torch.float32,
    f2=torch.float16,
    i8=torch.int64,
    i4=torch.int32,
    i2=torch.int16,
    i1=torch.int8,
    u1=torch.uint8,
    b1=torch.bool,
)


class RefusedPickleError(ValueError):
    """A pickle that holds more than plain values and tensors, or is none."""


@dataclass(frozen=True)
class Storage:
    """Memory of tensors, as :mod:`mmbss.engine.torch_files` has read it."""

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


def require(condition: object, problem: str) -> None:
    """Refuse the pickle unless a condition holds."""
    if not condition:
        raise RefusedPickleError(problem)


class Reader:
    """Reads one pickle.

    Args:
        load_storage: Gives the memory that a file calls by a key: dtype, key, number of elements.
        size: Bytes of the file; what is copied may not exceed them.
    """

    def __init__(self, load_storage: Callable[[torch.dtype, str, int], Storage], size: int) -> None:
        self.load_storage = load_storage
        self.copies_left = size
        self.steps = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        # arrays that have been made and not been filled; alive, so that no other has their id
        self.unfilled: dict[int, Tensor] = {}

    def read(self, stream: IO[bytes]) -> Any:
        """The value that a pickle stands for.

        Raises:
            RefusedPickleError: If it is anything but plain values and tensors.
        """
        try:
            for code, argument, _ in pickletools.genops(stream):
                self.steps += 1
                self.step(code.name, argument)
            value = self.stack.pop()
            check_tree(value, 10 * self.steps + 1000)
        except RefusedPickleError:
            raise
        # a damaged pickle fails in many ways
        except Exception as error:
            raise RefusedPickleError(
                f'it is no file of weights, or is damaged ({type(error).__name__})'
            ) from error
        require(not self.unfilled, 'it holds an array without values')
        return value

    def step(self, code: str, argument: Any) -> None:
        """One instruction."""
        stack = self.stack
        match code:
            case 'PROTO' | 'STOP':
                pass
            case 'BININT' | 'BININT1' | 'BININT2' | 'LONG1' | 'BINFLOAT' | 'BINUNICODE':
                stack.append(argument)
            case 'SHORT_BINSTRING':  # the text of Python 2
                stack.append(argument.encode('latin1').decode())
            case 'NONE' | 'NEWTRUE' | 'NEWFALSE':
                stack.append(dict(NONE=None, NEWTRUE=True, NEWFALSE=False)[code])
            case 'EMPTY_DICT' | 'EMPTY_LIST' | 'EMPTY_TUPLE':
                stack.append(dict(EMPTY_DICT=dict, EMPTY_LIST=list, EMPTY_TUPLE=tuple)[code]())
            case 'MARK':
                self.marks.append(stack)
                self.stack = []
            case 'TUPLE':
                items = self.pop_mark()
                self.stack.append(tuple(items))
            case 'TUPLE1' | 'TUPLE2' | 'TUPLE3':
                count = int(code[-1])
                require(len(stack) >= count, 'it is damaged')
                stack[-count:] = [tuple(stack[-count:])]
            case 'APPEND':
                self.extend([stack.pop()])
            case 'APPENDS':
                self.extend(self.pop_mark())
            case 'SETITEM':
                value, key = stack.pop(), stack.pop()
                self.update([key, value])
            case 'SETITEMS':
                self.update(self.pop_mark())
            case 'BINPUT' | 'LONG_BINPUT':
                self.memo[argument] = stack[-1]
            case 'BINGET' | 'LONG_BINGET':
                stack.append(self.memo[argument])
            case 'GLOBAL':
                stack.append(self.find(argument))
            case 'BINPERSID':
                stack.append(self.storage(stack.pop()))
            case 'REDUCE' | 'NEWOBJ':
                arguments, name = stack.pop(), stack.pop()
                stack.append(self.call(name, arguments))
            case 'BUILD':
                state = stack.pop()
                self.fill(stack[-1], state)
            case _:
                raise RefusedPickleError(f'it is no file of weights alone (instruction {code})')

    def pop_mark(self) -> list[Any]:
        """What has been put down since the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def extend(self, items: list[Any]) -> None:
        """Add to the list on the stack."""
        require(type(self.stack[-1]) is list, 'it adds to what is no list')
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        """Add to the dict on the stack: keys and values in turn."""
        target = self.stack[-1]
        require(type(target) in (dict, OrderedDict, Counter), 'it adds to what is no dict')
        require(len(items) % 2 == 0, 'it is damaged')
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def find(self, name: str) -> Name | torch.dtype:
        """What a pickle may name."""
        if name in _DTYPE_NAMES:
            return _DTYPE_NAMES[name]
        known = name in CALLS or name in _OTHER_NAMES
        require(known, f'it is no file of weights alone, since it names {name!r:.80}')
        return Name(name)

    def call(self, name: Any, arguments: Any) -> Any:
        """The value that a pickle has a function make."""
        callable_ = isinstance(name, Name) and name.name in CALLS and type(arguments) is tuple
        require(callable_, 'it calls what is no function')
        return CALLS[name.name](self, *arguments)

    def copy(self, count: int) -> None:
        """Take the size of what is copied from what is left."""
        self.copies_left -= count
        require(self.copies_left >= 0, 'it would grow beyond its size')

    def storage(self, key: Any) -> Storage:
        """The memory that a persistent id names."""
        require(type(key) is tuple and 5 <= len(key) <= 6 and key[0] == 'storage', 'it is damaged')
        kind, name, _, count = key[1:5]
        require(key[5:] in ((), (None,)), 'it holds views of storages, of a torch before 0.4')
        require(type(name) is str and type(count) is int and count >= 0, 'it is damaged')
        require(isinstance(kind, Name) and kind.name in _STORAGE_NAMES, 'it is damaged')
        return self.load_storage(_STORAGE_NAMES[kind.name], name, count)

    def fill(self, target: Any, state: Any) -> None:
        """Give an object the state that a pickle has stored for it."""
        if isinstance(target, OrderedDict):  # torch notes the versions of modules in this way
            require(type(state) is dict and state.keys() <= {'_metadata'}, 'it is damaged')
            if '_metadata' in state:
                require(isinstance(state['_metadata'], dict), 'it is damaged')
                target._metadata = state['_metadata']  # type: ignore[attr-defined]
        elif type(target) is History:
            require(type(state) is dict, 'it is damaged')
            for name in ('log_history', 'count_history'):
                target[name] = state.get(f'_{name}')
            target['max_length'] = state.get('max_length')
        elif type(target) is NumpyType:
            plain = type(state) is tuple and state[:5] in (
                (3, '<', None, None, None),
                (3, '|', None, None, None),
            )
            require(plain, 'it holds an array of structures, or of another byte order')
        else:
            require(id(target) in self.unfilled, 'it fills what is no array')
            del self.unfilled[id(target)]
            target.data = self.array(state)

    def array(self, state: Any) -> Tensor:
        """The array that NumPy has stored."""
        require(type(state) is tuple and len(state) == 5, 'it holds a damaged array')
        _, shape, kind, fortran, content = state
        shape = sizes(shape)
        require(isinstance(kind, NumpyType) and type(content) is bytes, 'it holds no plain array')
        self.copy(len(content))
        values = from_bytes(content, kind.dtype)
        require(prod(shape) == len(values), 'it holds an array of another size than its content')
        if fortran is True:
            return values.reshape(shape[::-1]).permute(*reversed(range(len(shape))))
        return values.reshape(shape)


# ---------------------------------------------------------------- what a pickle may call


def _ordered_dict(reader: Reader, pairs: Any = ()) -> OrderedDict[Any, Any]:
    require(type(pairs) in (list, tuple), 'it is damaged')
    reader.copy(len(pairs))
    result: OrderedDict[Any, Any] = OrderedDict()
    for pair in pairs:
        require(type(pair) in (list, tuple) and len(pair) == 2, 'it is damaged')
        result[checked_key(pair[0])] = pair[1]
    return result


def _counter(reader: Reader, counts: Any = ()) -> Counter[Any]:
    require(type(counts) is dict or counts == (), 'it is damaged')
    reader.copy(len(counts))
    return Counter(dict(counts))


def _set(reader: Reader, items: Any = ()) -> set[Any]:
    require(type(items) in (list, tuple), 'it is damaged')
    reader.copy(len(items))
    return {checked_key(item) for item in items}


def _bytes(reader: Reader, text: Any, encoding: Any) -> bytes:
    require(type(text) is str and encoding == 'latin1', 'it is damaged')
    reader.copy(len(text))
    return text.encode('latin1')


def _size(reader: Reader, size: Any) -> torch.Size:
    return torch.Size(sizes(size))


def _device(reader: Reader, kind: Any, index: Any = None) -> torch.device:
    require(type(kind) is str and type(index) in (int, NoneType), 'it is damaged')
    return torch.device(kind) if index is None else torch.device(kind, index)


def _tensor(
    reader: Reader,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    require(isinstance(storage, Storage), 'it holds a tensor without a storage')
    return view(storage.memory, storage.dtype, offset, size, stride, metadata)


def _tensor_of_dtype(
    reader: Reader,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    require(isinstance(storage, Storage), 'it holds a tensor without a storage')
    require(type(dtype) is torch.dtype and dtype in DTYPES, 'it holds a tensor of no usual dtype')
    return view(storage.memory, dtype, offset, size, stride, metadata)


def _parameter(reader: Reader, tensor: Any, requires_grad: Any, hooks: Any) -> Tensor:
    require(isinstance(tensor, Tensor), 'it holds a parameter that is no tensor')
    return tensor


def _with_attributes(
    reader: Reader, function: Any, kind: Any, arguments: Any, attributes: Any
) -> Tensor:
    """A tensor to which somebody, such as FSDP, has given attributes, without them."""
    tensor = reader.call(function, arguments)
    require(isinstance(tensor, Tensor), 'it gives attributes to what is no tensor')
    return tensor


def _new_array(reader: Reader, kind: Any, shape: Any, code: Any) -> Tensor:
    array = torch.empty(0)
    reader.unfilled[id(array)] = array
    return array


def _scalar(reader: Reader, kind: Any, content: Any) -> float:
    require(isinstance(kind, NumpyType) and type(content) is bytes, 'it holds no plain number')
    require(len(content) == kind.dtype.itemsize, 'it holds a damaged number')
    return from_bytes(content, kind.dtype).item()


def _numpy_type(reader: Reader, code: Any, align: Any = False, copy: Any = True) -> NumpyType:
    require(type(code) is str and code in NUMPY_DTYPES, f'it holds an array of {code!r:.20}')
    return NumpyType(NUMPY_DTYPES[code])


def _history(reader: Reader) -> History:
    return History()


def _statistic(reader: Reader, owner: Any, name: Any) -> None:
    """The methods of a history, which mmengine stores, are those that mmengine has."""
    require(owner == Name(HISTORY), f'it looks up {name!r:.40}')


HISTORY = 'mmengine.logging.history_buffer HistoryBuffer'
CALLS: dict[str, Callable[..., Any]] = {
    'collections OrderedDict': _ordered_dict,
    'collections Counter': _counter,
    '__builtin__ set': _set,
    'builtins set': _set,
    '_codecs encode': _bytes,
    'torch Size': _size,
    'torch device': _device,
    'torch._utils _rebuild_tensor': _tensor,
    'torch._utils _rebuild_tensor_v2': _tensor,
    'torch._utils _rebuild_tensor_v3': _tensor_of_dtype,
    'torch._utils _rebuild_parameter': _parameter,
    'torch._tensor _rebuild_from_type_v2': _with_attributes,
    HISTORY: _history,
    '__builtin__ getattr': _statistic,
    'builtins getattr': _statistic,
    'numpy dtype': _numpy_type,
    # NumPy 2 calls the same module by another name
    'numpy._core.multiarray _reconstruct': _new_array,
    'numpy.core.multiarray _reconstruct': _new_array,
    'numpy._core.multiarray scalar': _scalar,
    'numpy.core.multiarray scalar': _scalar,
}
_STORAGE_NAMES = {
    **{f'torch {name}': dtype for name, dtype in STORAGES.items()},
    'torch UntypedStorage': torch.uint8,
    'torch.storage UntypedStorage': torch.uint8,
}
_OTHER_NAMES = {*_STORAGE_NAMES, 'numpy ndarray', 'torch Tensor', 'torch.nn.parameter Parameter'}
_DTYPE_NAMES = {str(dtype).replace('.', ' '): dtype for dtype in DTYPES}


# ---------------------------------------------------------------- checks


def checked_key(key: Any) -> Any:
    """A key of a dict, or an element of a set."""
    require(type(key) in KEYS, f'it has a key that is a {type(key).__name__}')
    return key


def sizes(values: Any) -> tuple[int, ...]:
    """The sizes or strides of a tensor."""
    ok = isinstance(values, tuple | list) and len(values) <= MAX_DEPTH
    require(ok and all(type(value) is int and value >= 0 for value in values), 'it is damaged')
    return tuple(values)


def view(
    memory: torch.UntypedStorage,
    dtype: torch.dtype,
    offset: Any,
    size: Any,
    stride: Any,
    metadata: Any,
) -> Tensor:
    """A tensor that lies within its storage."""
    size, stride = sizes(size), sizes(stride)
    ok = type(offset) is int and offset >= 0 and len(size) == len(stride) and not metadata
    require(ok, 'it holds a tensor with a strange layout')
    count = prod(size)
    if count:
        offset_of_last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        available = memory.nbytes() // dtype.itemsize
        require(offset + offset_of_last < available, 'it holds a tensor beyond its storage')
        require(count <= max(available, MAX_EXPANDED), 'it holds a tensor larger than its storage')
    else:
        offset = 0
        require(max(size) < 1 << 48, 'it holds a tensor with a strange layout')
    return torch.empty(0, dtype=dtype).set_(memory, offset, size, stride)


def from_bytes(content: bytes, dtype: torch.dtype) -> Tensor:
    """A copy of an array's memory, one dimension."""
    require(len(content) % dtype.itemsize == 0, 'it holds a damaged array')
    if not content:
        return torch.empty(0, dtype=dtype)
    if dtype is torch.bool:  # any other byte is no bool, and torch relies on that
        return torch.frombuffer(bytearray(content), dtype=torch.uint8) != 0
    return torch.frombuffer(bytearray(content), dtype=dtype)


def parts_of(value: Any) -> list[Any]:
    """What is in a container; nothing if it is none."""
    if type(value) in (dict, OrderedDict, Counter, History):
        return [*value.values(), getattr(value, '_metadata', None)]
    return list(value) if type(value) in (list, tuple, set) else []


def tensors_of(value: Any) -> list[Tensor]:
    """Each tensor in what :class:`Reader` has read, once."""
    todo, seen = [value], {id(value): value}
    while todo:
        for part in parts_of(todo.pop()):
            if id(part) not in seen:
                seen[id(part)] = part
                todo.append(part)
    return [part for part in seen.values() if isinstance(part, Tensor)]


def check_tree(value: Any, max_nodes: int) -> None:
    """Refuse what would hurt who walks through it: circles, depth, and what refers to itself a lot.

    Args:
        value: What a pickle stands for.
        max_nodes: Values that a walk may meet that does not know those it has met.
    """
    seen: dict[int, tuple[int, int]] = {}

    def measure(value: Any, depth: int) -> tuple[int, int]:
        parts = parts_of(value)
        if not parts:
            require(isinstance(value, (*LEAVES, *CONTAINERS)), f'it holds a {type(value).__name__}')
            return 1, 0
        require(depth < MAX_DEPTH, 'it holds too many containers in each other')
        if id(value) not in seen:
            measured = [measure(part, depth + 1) for part in parts]
            nodes = 1 + len(parts) + sum(count for count, _ in measured)
            height = 1 + max((height for _, height in measured), default=0)
            require(nodes <= max_nodes, 'it would grow beyond its size')
            require(height <= MAX_DEPTH, 'it holds too many containers in each other')
            seen[id(value)] = nodes, height
        return seen[id(value)]

    measure(value, 0)
