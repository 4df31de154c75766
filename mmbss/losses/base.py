"""What every distillation loss takes and returns."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class DistillationLoss(nn.Module, ABC):
    """A loss between the logits of student and teacher, on clean or on boundary samples.

    Args:
        loss_weight: Factor of the loss, at least 0; hooks may change it while training runs.
            Where it is 0 the loss is not computed.

    Raises:
        ValueError: If the weight is negative.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not loss_weight >= 0:
            raise ValueError(
                f'{type(self).__name__}: loss_weight must not be negative, got {loss_weight}'
            )
        self.loss_weight = loss_weight

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
