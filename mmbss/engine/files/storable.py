"""What a checkpoint may hold: nothing is written that could not be read again."""

import copy
import inspect
import io
from collections import Counter, OrderedDict, deque
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbss.engine.errors import ConfigError, one_line
from mmbss.engine.files.plain_values import MAX_DEPTH
from mmbss.engine.files.torch_files import read_torch_file

#: Types that a checkpoint holds as they are, and what others that are like them become.
KEPT = (dict, OrderedDict, Counter, list, tuple, set, torch.Size, bool, int, float, str, bytes)
LIKE = {
    dict: (dict,),
    tuple: (tuple,),
    list: (list, deque, range),
    set: (set, frozenset),
    str: (PurePath,),
    int: (int,),
    float: (float,),
}
#: Keys of which a message names so many.
NAMED = 8


def storable(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint as it can be read again; what is so already is not copied.

    Numbers and arrays of NumPy become numbers and tensors, paths texts, and subclasses of lists,
    dicts and the like what they are made of. Functions in the states of schedulers, which have
    them from their own code, are left out.

    Raises:
        ConfigError: Naming the key of what cannot be read by
            :func:`mmbss.engine.files.torch_files.read_torch_file`.
    """
    content = plain(checkpoint)
    if 'param_schedulers' in content:
        content = dict(content, param_schedulers=_without_functions(content['param_schedulers']))
    if _problem(content) is not None:
        name, value = _culprit('', content)
        raise ConfigError(
            f'no checkpoint is written: {name or "what it holds"} ({type(value).__name__}) could '
            f'not be read again, since {_problem(value) or "it is too deep"}: store numbers, texts '
            'and tensors, or lists and dicts of them'
        )
    return content


def plain(value: Any, depth: int = 0) -> Any:
    """What others have put into a state, without NumPy and types of their own where that goes.

    Examples:
        >>> plain(dict(a=np.int64(3), b=deque([PurePath('x')]), c=np.arange(2)))
        {'a': 3, 'b': ['x'], 'c': tensor([0, 1])}
    """
    if depth > MAX_DEPTH:  # which the reader refuses
        return value
    if isinstance(value, Tensor):
        return _plain_tensor(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in 'biuf':
            return plain(value.tolist(), depth)
        if value.dtype.itemsize > 8:  # the reader refuses it, for torch has no such numbers
            return value
        return torch.from_numpy(value.astype(value.dtype.newbyteorder('=')))
    if type(value) not in KEPT:
        for kind, others in LIKE.items():
            if isinstance(value, others):
                return plain(kind(value), depth)
        # a text of a type of its own may say something else of itself
        return str.__str__(value) if isinstance(value, str) else value
    if isinstance(value, dict):
        parts = {plain(key, depth + 1): plain(part, depth + 1) for key, part in value.items()}
        if all(parts.get(key) is part for key, part in value.items()):
            return value
        result = copy.copy(value)  # with the attribute that torch gives a state_dict
        result.clear()
        result.update(parts)
        return result
    if isinstance(value, list | tuple | set) and type(value) is not torch.Size:
        items = [plain(item, depth + 1) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    return value


def _plain_tensor(value: Tensor) -> Tensor:
    if isinstance(value, torch.nn.Parameter) or value.requires_grad or vars(value):
        value = value.detach()
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        return value
    if value.is_conj() or value.is_neg():
        value = value.resolve_conj().resolve_neg()
    # the reader refuses one that is much larger than its memory
    return value.contiguous() if value.nbytes > value.untyped_storage().nbytes() else value


def _without_functions(state: Any) -> Any:
    if isinstance(state, dict):
        return {
            key: _without_functions(part)
            for key, part in state.items()
            if not inspect.isroutine(part)
        }
    return [_without_functions(part) for part in state] if isinstance(state, list) else state


def _problem(content: Any) -> str | None:
    """What is said of a part of a checkpoint that cannot be written and read; None if it can."""
    try:
        with io.BytesIO() as file:
            torch.save(_outline(content), file)
            size = file.tell()
            file.seek(0)
            read_torch_file(file, size)
    except Exception as error:  # anything may refuse to be stored in its own way
        return one_line(error)
    return None


def _outline(value: Any, depth: int = 0) -> Any:
    """The same with empty tensors, which are quickly written."""
    if depth > MAX_DEPTH:
        return value
    if type(value) is Tensor:
        usual = value.layout is torch.strided and not value.is_quantized and not value.is_meta
        return torch.empty(0, dtype=value.dtype) if usual else value
    if isinstance(value, dict) and type(value) in KEPT:
        result = copy.copy(value)
        result.update({key: _outline(part, depth + 1) for key, part in value.items()})
        return result
    if type(value) in (list, tuple):
        return type(value)(_outline(part, depth + 1) for part in value)
    return value


def _culprit(name: str, value: Any) -> tuple[str, Any]:
    """The innermost part that cannot be read, by the keys that lead to it."""
    for _ in range(NAMED):
        if isinstance(value, dict):
            parts = list(value.items())
        else:
            parts = list(enumerate(value)) if isinstance(value, list | tuple) else []
        broken = next(((key, part) for key, part in parts if _problem(part) is not None), None)
        if broken is None:
            break
        name, value = f'{name}.{broken[0]}' if name else str(broken[0]), broken[1]
    return name, value
