"""Optimizer wrappers that mmengine does not have."""

from mmbss.optim.cpu_amp_optim_wrapper import CPUAmpOptimWrapper

__all__ = ['CPUAmpOptimWrapper']
