"""Read the pickle in a checkpoint without :mod:`pickle`: what it names is looked up here alone.

``torch.load(weights_only=True)`` lets a file call a few dozen functions of torch with arguments of
its choice, and a tuple nested a million times ends the interpreter there. Here a file gets what
:mod:`mmbss.engine.files.plain_values` builds. Whatever else it names is refused, and so is what
would grow beyond the size of the file.
"""

import pickletools
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import IO, Any

import torch
from torch import Tensor

from mmbss.engine.files.plain_values import (
    CALLS,
    DTYPE_NAMES,
    KEYS,
    MAX_DEPTH,
    OTHER_NAMES,
    STORAGE_NAMES,
    History,
    Name,
    RefusedPickleError,
    Storage,
    array,
    checked_key,
    fill,
    new_array,
    require,
)

#: What there may be beside containers.
LEAVES = (*KEYS, Tensor, torch.Size, torch.device, torch.dtype)
CONTAINERS = (dict, list, tuple, set)
CONSTANTS = dict(NONE=None, NEWTRUE=True, NEWFALSE=False)
EMPTY = dict(EMPTY_DICT=dict, EMPTY_LIST=list, EMPTY_TUPLE=tuple)


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
            case 'BINBYTES' | 'SHORT_BINBYTES':  # of protocol 3, in which torch does not write
                stack.append(argument)
            case 'SHORT_BINSTRING':  # the text of Python 2
                stack.append(argument.encode('latin1').decode())
            case 'NONE' | 'NEWTRUE' | 'NEWFALSE':
                stack.append(CONSTANTS[code])
            case 'EMPTY_DICT' | 'EMPTY_LIST' | 'EMPTY_TUPLE':
                stack.append(EMPTY[code]())
            case 'MARK':
                self.marks.append(stack)
                self.stack = []
            case 'TUPLE':
                items = self.pop_mark()
                self.stack.append(tuple(items))
            case 'TUPLE1' | 'TUPLE2' | 'TUPLE3':
                count = int(code[-1])
                require(len(stack) >= count)
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
                known = argument in CALLS or argument in OTHER_NAMES or argument in DTYPE_NAMES
                require(known, f'it is no file of weights alone, since it names {argument!r:.80}')
                stack.append(DTYPE_NAMES.get(argument, Name(argument)))
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
        require(len(items) % 2 == 0)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def call(self, name: Any, arguments: Any) -> Any:
        """The value that a pickle has a function make."""
        callable_ = isinstance(name, Name) and name.name in CALLS and type(arguments) is tuple
        require(callable_, 'it calls what is no function')
        self.copy(sum(len(each) for each in arguments if isinstance(each, (str, *CONTAINERS))))
        value = CALLS[name.name](*arguments)
        if CALLS[name.name] is new_array:
            self.unfilled[id(value)] = value
        return value

    def copy(self, count: int) -> None:
        """Take the size of what is copied from what is left."""
        self.copies_left -= count
        require(self.copies_left >= 0, 'it would grow beyond its size')

    def storage(self, key: Any) -> Storage:
        """The memory that a persistent id names."""
        require(type(key) is tuple and 5 <= len(key) <= 6 and key[0] == 'storage')
        kind, name, _, count = key[1:5]
        require(key[5:] in ((), (None,)), 'it holds views of storages, of a torch before 0.4')
        require(type(name) is str and type(count) is int and count >= 0)
        require(isinstance(kind, Name) and kind.name in STORAGE_NAMES)
        return self.load_storage(STORAGE_NAMES[kind.name], name, count)

    def fill(self, target: Any, state: Any) -> None:
        """Give an object the state that a pickle has stored for it."""
        if self.unfilled.pop(id(target), None) is None:
            fill(target, state)
        else:
            target.data = array(state)
            self.copy(target.nbytes)


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
            height = 1 + max(height for _, height in measured)
            require(nodes <= max_nodes, 'it would grow beyond its size')
            require(height <= MAX_DEPTH, 'it holds too many containers in each other')
            seen[id(value)] = nodes, height
        return seen[id(value)]

    measure(value, 0)


def parts_of(value: Any) -> list[Any]:
    """What is in a container; nothing if it is none."""
    if type(value) in (dict, OrderedDict, Counter, History):
        return [*value.values(), getattr(value, '_metadata', None)]
    return list(value) if type(value) in (list, tuple, set) else []
