"""What every loss on logits takes and returns."""

from abc import abstractmethod

from torch import Tensor

from mmbss.losses.batch import Batch
from mmbss.losses.term import Term


class DistillationLoss(Term):
    """A loss between the logits of student and teacher, on clean or on boundary samples.

    Args:
        loss_weight: See :class:`Term`.

    Attributes:
        student_logits: Path of the module of the student whose output it looks at, such as the
            layer of a distillation token; None stands for what the head says when deployed.
    """

    student_logits: str | None = None

    @abstractmethod
    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Compute the loss of a batch, multiplied by ``loss_weight``.

        Args:
            student_logits: (N, K), any floating dtype.
            teacher_logits: (N, K), without gradient.
            labels: (N,) int64 classes; on boundary samples the base classes. None where the images
                have no labels; a loss that needs them says so with ``needs_labels = True``.

        Returns:
            A scalar.
        """

    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`Term.compute`."""
        return self(self.logits_of(batch), batch.teacher_logits, batch.labels), {}

    def logits_of(self, batch: Batch) -> Tensor:
        """See :meth:`Term.logits_of`."""
        if self.student_logits is None:
            return batch.student_logits
        return batch.student_features[self.student_logits]
