"""What a student learns is a sum of terms.

:mod:`~mmbss.losses.term` says what a term is and :mod:`~mmbss.losses.batch` what it looks at; then
there is one loss a file, each with its formula as a pure function.
"""

from mmbss.losses.attention_loss import AttentionLoss, attention_loss, attention_map
from mmbss.losses.batch import Batch, Outputs, TeacherBatch
from mmbss.losses.dist_loss import DISTLoss, dist_loss
from mmbss.losses.distillation_loss import DistillationLoss
from mmbss.losses.dkd_loss import DKDLoss, dkd_loss
from mmbss.losses.feature_loss import FeatureLoss
from mmbss.losses.fsp_loss import FSPLoss, fsp_matrix
from mmbss.losses.hard_kd_loss import HardKDLoss, hard_kd_loss
from mmbss.losses.hint_loss import HintLoss, hint_loss
from mmbss.losses.kd_loss import KDLoss, kd_loss
from mmbss.losses.standardisation import standardise_logits
from mmbss.losses.temperature_cross_entropy import TemperatureCrossEntropy
from mmbss.losses.term import Term

__all__ = [
    'AttentionLoss',
    'Batch',
    'DISTLoss',
    'DKDLoss',
    'DistillationLoss',
    'FSPLoss',
    'FeatureLoss',
    'HardKDLoss',
    'HintLoss',
    'KDLoss',
    'Outputs',
    'TeacherBatch',
    'TemperatureCrossEntropy',
    'Term',
    'attention_loss',
    'attention_map',
    'dist_loss',
    'dkd_loss',
    'fsp_matrix',
    'hard_kd_loss',
    'hint_loss',
    'kd_loss',
    'standardise_logits',
]
