"""Knowledge distillation of the logits (Hinton, Vinyals, Dean 2015, arXiv 1503.02531)."""

import torch.nn.functional as F
from torch import Tensor

from mmbss.engine.ranges import check_positive
from mmbss.losses.distillation_loss import DistillationLoss
from mmbss.losses.standardisation import standardise_logits
from mmbss.registry import MODELS


def kd_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, scale_by_t2: bool = False
) -> Tensor:
    """Cross-entropy ``J(softmax(f_t / T), softmax(f_s / T))``, the mean over the batch.

    Its gradient in the student equals that of the KL divergence; its value is larger by the
    entropy of the teacher's softened probabilities.

    Args:
        student_logits: (N, K) f_s.
        teacher_logits: (N, K) f_t; no gradient flows into it.
        temperature: T.
        scale_by_t2: Multiply by ``T^2`` so that the size of the gradient does not depend on T
            (Hinton et al., section 2). Heo et al. do not.

    Returns:
        A float32 scalar; 0 for an empty batch.

    Examples:
        >>> import torch
        >>> kd_loss(torch.zeros(1, 2), torch.tensor([[5.0, -5.0]]), temperature=3.0)
        tensor(0.6931)
    """
    soft_labels = (teacher_logits.detach().float() / temperature).softmax(dim=1)
    loss = F.cross_entropy(student_logits.float() / temperature, soft_labels, reduction='sum')
    loss = loss / max(len(student_logits), 1)
    return loss * temperature**2 if scale_by_t2 else loss


@MODELS.register_module()
class KDLoss(DistillationLoss):
    """:func:`kd_loss` as a module that configs name.

    Args:
        temperature: T > 0; the published BSS recipe uses 3.
        loss_weight: See :class:`DistillationLoss`.
        scale_by_t2: See :func:`kd_loss`.
        standardise_logits: Take the z-scores of both networks' logits over the classes before
            they are divided by T (arXiv 2403.01427, with T = 2, T^2 and a weight of 9 beside a
            classification loss of weight 0.1 on CIFAR-100).

    Raises:
        ConfigError: If a parameter is out of its range.
    """

    def __init__(
        self,
        temperature: float = 3.0,
        loss_weight: float = 1.0,
        scale_by_t2: bool = False,
        standardise_logits: bool = False,
    ) -> None:
        super().__init__(loss_weight)
        check_positive(self, temperature=temperature)
        self.temperature = temperature
        self.scale_by_t2 = scale_by_t2
        self.standardise_logits = standardise_logits

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See :meth:`DistillationLoss.forward`; the labels are not used."""
        if self.standardise_logits:
            student_logits = standardise_logits(student_logits)
            teacher_logits = standardise_logits(teacher_logits)
        loss = kd_loss(student_logits, teacher_logits, self.temperature, self.scale_by_t2)
        return self.loss_weight * loss
