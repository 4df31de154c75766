"""What a term of the loss looks at: one batch, frozen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from mmbss.teachers import Teacher


@dataclass(frozen=True)
class Outputs:
    """What a network says of some inputs.

    Attributes:
        logits: (N, K).
        features: By path, see :attr:`~mmbss.losses.Term.layers`; one tensor a path.
    """

    logits: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TeacherBatch:
    """What is known of a batch before the student answers it.

    Attributes:
        inputs: (N, C, H, W) images in the student's normalisation.
        labels: (N,) int64 classes; of a mixture (mixup, soft labels) the one of the largest share;
            None where the images have no labels.
        teacher: The teacher itself, for further questions.
        teacher_logits: (N, K) on ``inputs``, without gradient.
        peek_student: (M, K) logits of the student on (M, C, H, W) inputs in its normalisation, in
            eval mode and without gradient; it stays as it is, and so do the random numbers.
        teacher_features: By path, without gradient; those that any term of the batch names.
        unmixed: The same batch before mixup or CutMix has mixed it, without features, where a term
            of the batch has ``needs_unmixed``; None where ``inputs`` are not mixed.
    """

    inputs: Tensor
    labels: Tensor | None
    teacher: 'Teacher'
    teacher_logits: Tensor
    peek_student: Callable[[Tensor], Tensor]
    teacher_features: dict[str, Tensor] = field(default_factory=dict)
    unmixed: 'TeacherBatch | None' = None


@dataclass(frozen=True, kw_only=True)
class Batch(TeacherBatch):
    """A batch that both networks have answered.

    Attributes:
        student_logits: (N, K) on ``inputs``, as deployed: ``head(features)`` without labels.
        student_features: By path; those that any term of the batch names.
        ask_student: Answers further inputs, (M, C, H, W) in the student's normalisation, in a pass
            and a BatchNorm batch of their own.
        least_asked: Fewest inputs that ``ask_student`` takes: 2 where BatchNorm normalises by them.
        brought: What :meth:`~mmbss.losses.Term.bring` of this term has returned.
        brought_outputs: The student's answer to ``brought.inputs``; None where there are none, or
            a single one that a BatchNorm of the head could not take.
    """

    student_logits: Tensor
    student_features: dict[str, Tensor] = field(default_factory=dict)
    ask_student: Callable[[Tensor], Outputs]
    least_asked: int = 1
    brought: Any = None
    brought_outputs: Outputs | None = None
