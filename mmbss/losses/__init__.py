"""Distillation losses: tensors in, a weighted scalar out."""

from mmbss.losses.base import DistillationLoss
from mmbss.losses.kd_loss import KDLoss, kd_loss

__all__ = ['DistillationLoss', 'KDLoss', 'kd_loss']
