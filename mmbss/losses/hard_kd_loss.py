"""Distillation of the teacher's decisions (Touvron et al. 2021, arXiv 2012.12877, eq. 3)."""

import torch.nn.functional as F
from torch import Tensor

from mmbss.losses.distillation_loss import DistillationLoss
from mmbss.registry import MODELS


def hard_kd_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy of the student with the class ``argmax f_t``, the mean over the batch.

    Args:
        student_logits: (N, K) f_s.
        teacher_logits: (N, K) f_t; of equal ones the first counts.

    Returns:
        A float32 scalar; 0 for an empty batch.

    Examples:
        >>> import torch
        >>> hard_kd_loss(torch.zeros(1, 2), torch.tensor([[0.1, 0.2]]))
        tensor(0.6931)
    """
    decisions = teacher_logits.argmax(dim=1)
    loss = F.cross_entropy(student_logits.float(), decisions, reduction='sum')
    return loss / max(len(student_logits), 1)


@MODELS.register_module()
class HardKDLoss(DistillationLoss):
    """:func:`hard_kd_loss` as a module that configs name; it has no temperature.

    Args:
        loss_weight: See :class:`DistillationLoss`.
    """

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See :meth:`DistillationLoss.forward`; the labels are not used."""
        return self.loss_weight * hard_kd_loss(student_logits, teacher_logits)
