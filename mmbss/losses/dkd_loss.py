"""Decoupled knowledge distillation (Zhao et al., CVPR 2022, arXiv 2203.08679)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmbss.engine.ranges import check_at_least, check_positive
from mmbss.losses.distillation_loss import DistillationLoss
from mmbss.losses.standardisation import standardise_logits
from mmbss.registry import MODELS


def split_off_target(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Split class probabilities into "target or not" and "which of the others".

    Both parts stay exact where the softmax over all classes saturates.

    Args:
        logits: (N, K) with K > 1.
        labels: (N,) int64 target classes.

    Returns:
        Log-odds of the target class against all others, (N,), and the log-probabilities of the
        others among themselves, (N, K - 1); float32.

    Examples:
        >>> log_odds, others = split_off_target(torch.zeros(1, 3), torch.tensor([0]))
        >>> log_odds.sigmoid(), others.exp()
        (tensor([0.3333]), tensor([[0.5000, 0.5000]]))
    """
    logits, labels = logits.float(), labels.unsqueeze(1)
    classes = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, classes + (classes >= labels))
    log_odds = logits.gather(1, labels).squeeze(1) - others.logsumexp(dim=1)
    return log_odds, others.log_softmax(dim=1)


def binary_divergence(student_log_odds: Tensor, teacher_log_odds: Tensor) -> Tensor:
    """``KL(p_t || p_s)`` of two-way decisions given by their log-odds: (N,)."""
    yes = F.logsigmoid(teacher_log_odds) - F.logsigmoid(student_log_odds)
    no = F.logsigmoid(-teacher_log_odds) - F.logsigmoid(-student_log_odds)
    return teacher_log_odds.sigmoid() * yes + (-teacher_log_odds).sigmoid() * no


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    alpha: float,
    beta: float,
) -> Tensor:
    """``T^2 (alpha TCKD + beta NCKD)``, the mean over the batch (equation 7).

    TCKD is the divergence of the target class against all others, NCKD that among the others.
    ``TCKD + (1 - p_y) NCKD``, with the teacher's ``p_y``, would be the KL divergence of plain
    distillation; the published code has the factor ``T^2``, the paper does not mention it.

    Args:
        student_logits: (N, K) with K > 1.
        teacher_logits: (N, K); no gradient flows into it.
        labels: (N,) int64 target classes.
        temperature: T.
        alpha: Weight of the target class.
        beta: Weight of the other classes.

    Returns:
        A float32 scalar; 0 for an empty batch.
    """
    student_odds, student_others = split_off_target(student_logits.float() / temperature, labels)
    teacher_odds, teacher_others = split_off_target(
        teacher_logits.detach().float() / temperature, labels
    )
    target = binary_divergence(student_odds, teacher_odds).sum()
    others = (teacher_others.exp() * (teacher_others - student_others)).sum()
    return (alpha * target + beta * others) * temperature**2 / max(len(labels), 1)


@MODELS.register_module()
class DKDLoss(DistillationLoss):
    """:func:`dkd_loss` as a module that configs name.

    The paper lets the weight of the loss rise linearly from 0 in the first epochs (20 of 240 on
    CIFAR-100): a schedule of :class:`~mmbss.hooks.BSSHook` from 0 to 1.

    Args:
        temperature: T > 0.
        alpha: Weight of the target class, at least 0.
        beta: Weight of the other classes, at least 0. The published one depends on the pair of
            networks: 8 for most on CIFAR-100, 2 from ResNet56 to ResNet20.
        loss_weight: See :class:`DistillationLoss`.
        standardise_logits: See :class:`~mmbss.losses.KDLoss`.

    Raises:
        ConfigError: If a parameter is out of its range.
    """

    needs_labels = True

    def __init__(
        self,
        temperature: float = 4.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        loss_weight: float = 1.0,
        standardise_logits: bool = False,
    ) -> None:
        super().__init__(loss_weight)
        check_positive(self, temperature=temperature)
        check_at_least(self, 0, alpha=alpha, beta=beta)
        self.temperature = temperature
        self.alpha = alpha
        self.beta = beta
        self.standardise_logits = standardise_logits

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See :meth:`DistillationLoss.forward`."""
        assert labels is not None  # needs_labels
        if self.standardise_logits:
            student_logits = standardise_logits(student_logits)
            teacher_logits = standardise_logits(teacher_logits)
        loss = dkd_loss(
            student_logits, teacher_logits, labels, self.temperature, self.alpha, self.beta
        )
        return self.loss_weight * loss
