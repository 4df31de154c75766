"""What every distillation loss takes and returns."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError


class WeightedLoss(nn.Module):
    """A loss between student and teacher whose weight may change while training runs.

    Args:
        loss_weight: Factor of the loss, at least 0; hooks may change it while training runs.
            Where it is 0 the loss is not computed.

    Raises:
        ValueError: If the weight is negative.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not loss_weight >= 0:
            raise ConfigError(
                f'{type(self).__name__}: loss_weight must not be negative, got {loss_weight}'
            )
        self.loss_weight = loss_weight


class DistillationLoss(WeightedLoss, ABC):
    """A loss between the logits of student and teacher, on clean or on boundary samples.

    Args:
        loss_weight: See :class:`WeightedLoss`.
    """

    @abstractmethod
    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a batch, multiplied by ``loss_weight``.

        Args:
            student_logits: (N, K), any floating dtype.
            teacher_logits: (N, K), without gradient.
            labels: (N,) int64 classes; on boundary samples the base classes.

        Returns:
            A scalar.
        """

    def per_sample(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each sample as a batch of its own, for samples that have weights.

        Calls :meth:`forward` under ``torch.vmap``, once for all samples; so a loss that asks for
        values on the way (``.item()``, ``if`` on a tensor) has to override this method.

        Args:
            student_logits: (N, K) with N > 0, any floating dtype.
            teacher_logits: (N, K), without gradient.
            labels: (N,) int64 classes.

        Returns:
            (N,), each multiplied by ``loss_weight``.
        """

        def loss_of_one(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
            return self(student.unsqueeze(0), teacher.unsqueeze(0), label.unsqueeze(0))

        return torch.vmap(loss_of_one, randomness='different')(
            student_logits, teacher_logits, labels
        )
