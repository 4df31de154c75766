"""Running statistics of several processes, shared wherever the weights are looked at."""

from collections.abc import Iterable

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import EMAHook, Hook
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def share_buffers(model: nn.Module, hooks: Iterable[Hook]) -> None:
    """Give every process the mean of the statistics of all, and averaged weights the same ones.

    mmengine's ``SyncBuffersHook`` does so at the end of an epoch and before a validation, after its
    ``EMAHook`` has taken those of its own process; and at no checkpoint within an epoch.

    Args:
        model: The networks in training mode within it are shared, so no teacher.
        hooks: Those of the runner.
    """
    if get_world_size() == 1:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats:
            all_reduce(module.running_mean, op='mean')
            all_reduce(module.running_var, op='mean')
    own = dict(model.named_buffers())
    for hook in hooks:
        averaged = getattr(hook, 'ema_model', None) if isinstance(hook, EMAHook) else None
        if averaged is None:
            continue
        for name, buffer in averaged.module.named_buffers():
            if not averaged.update_buffers:
                buffer.copy_(own[name])
            elif buffer.is_floating_point():
                all_reduce(buffer, op='mean')
