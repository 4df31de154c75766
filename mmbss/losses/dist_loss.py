"""Distillation of relations by correlation (DIST: Huang et al., NeurIPS 2022, arXiv 2205.10536)."""

import torch
from torch import Tensor

from mmbss.engine.ranges import check_at_least, check_positive
from mmbss.losses.distillation_loss import DistillationLoss
from mmbss.registry import MODELS

#: A standard deviation up to this share of the largest value is rounding, no relation.
ROUNDING = 1e-6
#: Probabilities below this are taken for 0; it keeps gradients finite.
SMALLEST = 1e-20


def standard_score(values: Tensor, dim: int) -> Tensor:
    """Deviations from the mean along ``dim``, of norm 1; 0 where all values are equal.

    Args:
        values: Non-negative float32, at least one along ``dim``.
        dim: The dimension.
    """
    # correlation does not depend on the scale: this keeps the squares of tiny values apart from 0
    values = values / values.detach().amax(dim, keepdim=True).clamp(min=SMALLEST)
    deviations = values - values.mean(dim, keepdim=True)
    norm = deviations.norm(dim=dim, keepdim=True)
    related = norm > ROUNDING * values.shape[dim] ** 0.5
    return torch.where(related, deviations / norm.where(related, 1.0), 0.0)


def pearson_correlation(first: Tensor, second: Tensor, dim: int) -> Tensor:
    """Pearson's correlation along ``dim``; 0, without gradient, with values that are all equal.

    Args:
        first: Non-negative float32, at least one along ``dim``.
        second: The same shape.
        dim: The dimension, which the result lacks.

    Examples:
        >>> rising, falling = torch.tensor([[0.1, 0.2, 0.6]]), torch.tensor([[0.9, 0.8, 0.4]])
        >>> pearson_correlation(rising, falling, dim=1)
        tensor([-1.])
        >>> pearson_correlation(rising, torch.full((1, 3), 0.5), dim=1)
        tensor([0.])
    """
    return (standard_score(first, dim) * standard_score(second, dim)).sum(dim)


def dist_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, beta: float, gamma: float
) -> Tensor:
    """``T^2 (beta L_inter + gamma L_intra)`` (Huang et al., section 4).

    Each is the mean of ``1 - correlation`` of the probabilities of student and teacher: L_inter
    over the samples, each correlated across its classes; L_intra over the classes, each
    correlated across the samples of the batch. A single sample has no relation to others, so
    its L_intra is a constant 1.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        temperature: T of both softmaxes.
        beta: Weight of the relations between classes.
        gamma: Weight of the relations between samples within a class.

    Returns:
        A float32 scalar; 0 for an empty batch.
    """
    student = (student_logits.float() / temperature).softmax(dim=1)
    if not len(student):
        return student.sum()
    teacher = (teacher_logits.detach().float() / temperature).softmax(dim=1)
    inter_class = 1 - pearson_correlation(student, teacher, dim=1).mean()
    intra_class = 1 - pearson_correlation(student, teacher, dim=0).mean()
    return (beta * inter_class + gamma * intra_class) * temperature**2


@MODELS.register_module()
class DISTLoss(DistillationLoss):
    """:func:`dist_loss` as a module that configs name.

    Args:
        temperature: T > 0; the paper has 4 on CIFAR-100.
        beta: Weight of the relations between classes, at least 0.
        gamma: Weight of the relations between samples within a class, at least 0.
        loss_weight: See :class:`DistillationLoss`.

    Raises:
        ConfigError: If a parameter is out of its range.
    """

    def __init__(
        self,
        temperature: float = 4.0,
        beta: float = 2.0,
        gamma: float = 2.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_positive(self, temperature=temperature)
        check_at_least(self, 0, beta=beta, gamma=gamma)
        self.temperature = temperature
        self.beta = beta
        self.gamma = gamma

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See :meth:`DistillationLoss.forward`; the labels are not used."""
        loss = dist_loss(student_logits, teacher_logits, self.temperature, self.beta, self.gamma)
        return self.loss_weight * loss
