"""Several batches in one pass, which BatchNorm normalises together."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model normalises by the statistics of the batch while it trains.

    Examples:
        >>> has_batch_norm(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
        True
        >>> has_batch_norm(nn.GroupNorm(1, 2))
        False
    """
    return any(isinstance(module, _BatchNorm) and module.training for module in model.modules())


def has_sync_batch_norm(model: nn.Module) -> bool:
    """Whether BatchNorm takes the statistics of all processes, which have to run it together."""
    return any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())


def split_batch(features: Any, sizes: list[int]) -> list[Any]:
    """Split tensors, or tuples and lists of them, into parts of so many samples.

    Examples:
        >>> import torch
        >>> split_batch((torch.arange(3), [torch.arange(3) + 5]), [1, 2])
        [(tensor([0]), [tensor([5])]), (tensor([1, 2]), [tensor([6, 7])])]
    """
    if len(sizes) == 1:
        return [features]
    if isinstance(features, Tensor):
        return list(features.split(sizes))
    parts = zip(*(split_batch(feature, sizes) for feature in features), strict=True)
    return [type(features)(part) for part in parts]
