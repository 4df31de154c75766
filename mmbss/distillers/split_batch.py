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


def split_features(recorded: dict[str, Tensor], sizes: list[int]) -> list[dict[str, Tensor]]:
    """Split recorded features, by path, into parts of so many samples.

    Those of the head are of the first part alone: it answers the others later.

    Examples:
        >>> import torch
        >>> split_features({'neck': torch.arange(3), 'head.fc': torch.arange(2)}, [2, 1])
        [{'neck': tensor([0, 1]), 'head.fc': tensor([0, 1])}, {'neck': tensor([2])}]
    """
    parts: list[dict[str, Tensor]] = [{} for _ in sizes]
    for path, feature in recorded.items():
        if in_head(path):
            parts[0][path] = feature
            continue
        # a feature may have several rows a sample, such as the windows of an image
        rows = [len(feature) * size // sum(sizes) for size in sizes]
        for part, piece in zip(parts, feature.split(rows), strict=True):
            part[path] = piece
    return parts


def in_head(path: str) -> bool:
    """Whether a path is that of the head or of a part of it."""
    return path.split('.')[0].split(':')[0] == 'head'
