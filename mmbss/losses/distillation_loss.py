"""What every loss on logits takes and returns."""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from mmbss.engine.build import build_checked
from mmbss.engine.errors import ConfigError
from mmbss.losses.batch import Batch
from mmbss.losses.term import Term
from mmbss.registry import MODELS


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
        """See :meth:`Term.logits_of`.

        Raises:
            ConfigError: If the layer that is looked at puts out no logits of the teacher's classes.
        """
        if self.student_logits is None:
            return batch.student_logits
        logits, wanted = batch.student_features[self.student_logits], batch.teacher_logits.shape
        if logits.shape != wanted:
            raise ConfigError(
                f'{type(self).__name__}: student_logits={self.student_logits!r} puts out '
                f'{tuple(logits.shape)} where the teacher has {tuple(wanted)}: name a layer that '
                'puts out one logit a class'
            )
        return logits


def build_inner_loss(config: dict[str, Any]) -> DistillationLoss:
    """Build the loss on logits that a config names under ``loss``, for a term that has it inside.

    Raises:
        ConfigError: If it is no loss on logits, or has a weight of its own.
    """
    loss = build_checked(MODELS, config, 'loss')
    if not isinstance(loss, DistillationLoss):
        raise ConfigError(
            f'loss: {type(loss).__name__} is no loss on logits: derive it from '
            'mmbss.losses.DistillationLoss'
        )
    if loss.loss_weight != 1:
        raise ConfigError(
            f'loss.loss_weight={loss.loss_weight} would be a second weight: set loss_weight of '
            'the term instead'
        )
    return loss
