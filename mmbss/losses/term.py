"""A term of the loss that a student learns."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn

from mmbss.engine.ranges import check_at_least
from mmbss.losses.batch import Batch, TeacherBatch


class Term(nn.Module, ABC):
    """One entry of a distiller's ``losses``.

    It says what it needs, gets it in one :class:`~mmbss.losses.Batch`, and returns its loss and
    what is to be logged. Most terms are easier written as a
    :class:`~mmbss.losses.DistillationLoss` (on logits) or a :class:`~mmbss.losses.FeatureLoss`.

    Weights that a term has of its own train with the student, but are no part of it.

    Args:
        loss_weight: Factor of the loss, at least 0; hooks may change it while training runs.
            Where it is 0 none of the term's work is done.

    Attributes:
        needs_labels: Whether the images need labels.
        needs_hard_labels: Whether each sample needs one class, so that mixup and the like do not
            go with the term, unless it also has ``needs_unmixed``.
        needs_unmixed: Whether the term looks at the images before mixup and the like have mixed
            them, ``batch.unmixed or batch``.
        share: Share of the gradient at the student's logits that the term is to have, in (0, 1),
            in place of a weight; set by the distiller.
        statistics: Names of what :meth:`compute` logs.

    Raises:
        ConfigError: If the weight is negative.
    """

    needs_labels: bool = False
    needs_hard_labels: bool = False
    needs_unmixed: bool = False
    share: float | None = None
    statistics: tuple[str, ...] = ()

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_at_least(self, 0, loss_weight=loss_weight)
        self.loss_weight = loss_weight
        #: Paths of the modules whose features it needs, by role. A path is that of a module as
        #: ``named_modules()`` spells it and stands for its output, with ``':input'`` its input.
        self.layers: dict[str, list[str]] = dict(student=[], teacher=[])

    def bring(self, batch: TeacherBatch) -> Any:
        """Further inputs for the student that are chosen by the teacher alone.

        They join the clean batch: one pass, one BatchNorm batch.

        Returns:
            Anything with ``inputs``, (M, C, H, W) in the student's normalisation, which
            :meth:`compute` finds in ``batch.brought``; None where there is nothing to bring.
        """
        return None

    def rehearsing(self) -> AbstractContextManager[None]:
        """What the trial before a training computes the term in, so that no part is left out."""
        return nullcontext()

    def nothing(self, like: Tensor) -> Tensor:
        """A loss of 0 where there is nothing to learn; gradients of 0 for the term's parameters.

        DDP waits for a gradient of every parameter.
        """
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return sum((0 * parameter.sum() for parameter in trained), like.new_zeros(()))

    def logits_of(self, batch: Batch) -> Tensor:
        """(N, K) logits of the student, on the clean batch, that the term looks at."""
        return batch.student_logits

    @abstractmethod
    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch.

        Returns:
            A scalar, multiplied by ``loss_weight``, and scalars for the log, which appear there
            behind the name of the term: ``accepted`` of ``loss_bss`` as ``bss_accepted``.
        """
