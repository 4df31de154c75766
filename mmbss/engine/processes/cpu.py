"""Let several processes train on a machine without a GPU.

Cause: mmengine's ``init_dist`` always selects a CUDA device, and its DDP wrapper is given one.
"""

import torch
from mmengine.config import Config


def prepare_cpu_distributed(cfg: Config) -> None:
    """Make the process group of ``--launcher pytorch`` before mmengine does."""
    if cfg.get('launcher', 'none') != 'pytorch' or torch.cuda.is_available():
        return
    torch.distributed.init_process_group('gloo')
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
        )
