"""Distillation losses: tensors in, a weighted scalar out."""

from mmbss.losses.attention_loss import AttentionLoss, attention_loss, attention_map
from mmbss.losses.base import DistillationLoss, WeightedLoss
from mmbss.losses.dist_loss import DISTLoss, dist_loss
from mmbss.losses.dkd_loss import DKDLoss, dkd_loss
from mmbss.losses.feature_loss import FeatureLoss
from mmbss.losses.fsp_loss import FSPLoss, fsp_loss, fsp_matrix
from mmbss.losses.hint_loss import HintLoss, hint_loss
from mmbss.losses.kd_loss import KDLoss, kd_loss
from mmbss.losses.standardisation import standardise_logits
from mmbss.losses.temperature_cross_entropy import TemperatureCrossEntropy

__all__ = [
    'AttentionLoss',
    'DISTLoss',
    'DKDLoss',
    'DistillationLoss',
    'FSPLoss',
    'FeatureLoss',
    'HintLoss',
    'KDLoss',
    'TemperatureCrossEntropy',
    'WeightedLoss',
    'attention_loss',
    'attention_map',
    'dist_loss',
    'dkd_loss',
    'fsp_loss',
    'fsp_matrix',
    'hint_loss',
    'kd_loss',
    'standardise_logits',
]
