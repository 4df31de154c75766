"""Which samples BatchNorm normalises together, and which its running statistics see."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Leave the running statistics of BatchNorm alone while the context is open.

    In training mode each batch is normalised by its own statistics, as ever; layers in eval mode
    are not touched.

    Examples:
        >>> import torch
        >>> layer = nn.BatchNorm1d(2)
        >>> with frozen_statistics(layer):
        ...     normalised = layer(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
        >>> normalised.round(decimals=2)[0], layer.running_mean, layer.num_batches_tracked
        (tensor([-1., -1.], grad_fn=...), tensor([0., 0.]), tensor(0))
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model normalises by the statistics of the batch while it trains.

    Examples:
        >>> has_batch_norm(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
        True
        >>> has_batch_norm(nn.GroupNorm(1, 2))
        False
    """
    return any(isinstance(module, _BatchNorm) and module.training for module in model.modules())


def split_batch(features: Any, count: int) -> tuple[Any, Any]:
    """Split tensors, or tuples and lists of them, after the first ``count`` samples.

    Examples:
        >>> import torch
        >>> split_batch((torch.arange(3), [torch.arange(3) + 5]), 1)
        ((tensor([0]), [tensor([5])]), (tensor([1, 2]), [tensor([6, 7])]))
    """
    if isinstance(features, Tensor):
        return features[:count], features[count:]
    parts = [split_batch(feature, count) for feature in features]
    kind = type(features)
    return kind(first for first, _ in parts), kind(second for _, second in parts)
