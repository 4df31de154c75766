"""Whether tensors are numbers, wherever they lie in a state."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def named_tensors(state: Any, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a nested state, with the keys that lead to it.

    Examples:
        >>> import torch
        >>> [name for name, _ in named_tensors(dict(state=[dict(a=torch.zeros(1))], epoch=3))]
        ['state.0.a']
    """
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, dict | list | tuple):
        parts = state.items() if isinstance(state, dict) else enumerate(state)
        for key, part in parts:
            yield from named_tensors(part, f'{name}.{key}' if name else str(key))


def non_finite(state: Any) -> list[str]:
    """Names of the tensors of a nested state that hold NaN or infinity.

    Examples:
        >>> import torch
        >>> non_finite(dict(a=torch.zeros(2), b=torch.tensor([torch.inf]), c=torch.tensor(3)))
        ['b']
    """
    return [name for name, value in named_tensors(state) if not is_finite(value)]


def is_finite(value: Tensor) -> bool:
    """Whether a tensor of any layout and dtype holds neither NaN nor infinity."""
    return bool(_numbers(value).isfinite().all())


def has_nan(value: Tensor) -> bool:
    """Whether a tensor of any layout and dtype holds NaN."""
    return bool(_numbers(value).isnan().any())


def _numbers(value: Tensor) -> Tensor:
    value = dense(value)
    # torch can do no more with those of one byte than convert them
    return value.float() if value.is_floating_point() and value.itemsize == 1 else value


def dense(value: Tensor) -> Tensor:
    """What a tensor of any layout has in memory: of a sparse one the values that are given."""
    if value.is_quantized:
        return value.int_repr()
    if value.layout is torch.sparse_coo:
        return value._values()
    return value if value.layout is torch.strided else value.values()
