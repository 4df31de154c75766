"""Whether tensors are numbers, wherever they lie in a state."""

from collections.abc import Iterator
from typing import Any

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
    return [name for name, value in named_tensors(state) if not value.isfinite().all()]
