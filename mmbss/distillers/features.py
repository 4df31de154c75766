"""Read what a module puts out while a model runs, without editing the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def recorded_outputs(module: nn.Module) -> Iterator[list[Any]]:
    """Collect the outputs of ``module``, one for each call, while the context is open.

    Examples:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> with recorded_outputs(model[0]) as outputs:
        ...     _ = model(torch.zeros(1, 2, 2))
        >>> outputs
        [tensor([[0., 0., 0., 0.]])]
    """
    outputs: list[Any] = []
    handle = module.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()
