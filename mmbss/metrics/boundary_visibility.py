"""How much of the way to its teacher's boundary a student notices."""

from typing import Any

from torch import Tensor

from mmbss.attacks import Attack
from mmbss.attacks.functional import margin
from mmbss.engine.build import build_checked
from mmbss.metrics.functional import class_probability
from mmbss.metrics.teacher_metric import TeacherMetric
from mmbss.registry import ATTACKS, METRICS


@METRICS.register_module()
class BoundaryVisibility(TeacherMetric):
    """Change of a student's margin between a sample and the teacher's boundary sample of it.

    On a boundary sample the teacher's margin ``f_b - f_k`` has shrunk to about 0. A student whose
    own hardly moves takes it for the clean image, and learns from it no more than from a clean
    image with other logits. ``seen`` is the mean change of the student's margin divided by the
    mean change of the teacher's, in percent: 100 for the teacher itself, 0 for a student that
    notices nothing, below 0 for one that moves the other way.

    Also in the result: the mean margins ``student_clean``, ``student_boundary``,
    ``teacher_clean`` and ``teacher_boundary``, in units of the logits; ``student_drop`` and
    ``teacher_drop``, by how much the probability of the base class falls, in percent; and the
    number of ``samples``. These are the ones that the teacher classifies correctly and the attack
    then moves onto its boundary, the same for every student whether it is right or not. Without
    such a sample all the rest is left out, with a warning.

    Args:
        attack: Config of the attack on the teacher, toward classes drawn by its probabilities.
            One that moves toward another image finds it in the batch, so that what it finds
            depends on the batch size. Default None: :class:`~mmbss.attacks.ClosestAttack`.
        teacher: See :class:`TeacherMetric`.
        **kwargs: ``num_samples``, ``seed`` and other arguments of :class:`ModelMetric`.

    Raises:
        ConfigError: If ``attack`` is no config of an attack, and as :class:`TeacherMetric` does.
    """

    default_prefix = 'boundary_visibility'
    fields = (
        *('student_clean', 'student_boundary', 'teacher_clean', 'teacher_boundary'),
        *('student_drop', 'teacher_drop'),
    )
    nothing = (
        'the teacher classifies no sample correctly that the attack then moves onto its boundary, '
        'so there is nothing to see'
    )

    def __init__(
        self, attack: dict[str, Any] | None = None, teacher: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(teacher, **kwargs)
        attack = attack or dict(type='mmbss.ClosestAttack')
        self.attack: Attack = build_checked(ATTACKS, attack, 'BoundaryVisibility.attack')

    def measure(
        self, inputs: Tensor, labels: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`ModelMetric.measure`; about the samples with a boundary sample."""
        samples = self.teacher.from_student(inputs)
        logits = self.teacher_logits(samples)
        found, boundary = self.boundary_samples(self.attack, samples, logits, labels, uniforms)
        if not found.any():
            return found, {}
        base, target = labels[found], boundary.target
        answers = dict(
            student=(self.student_logits(samples[found]), self.student_logits(boundary.samples)),
            teacher=(logits[found], boundary.logits),
        )
        values = {}
        for role, (clean, moved) in answers.items():
            values[f'{role}_clean'] = margin(clean, base, target)
            values[f'{role}_boundary'] = margin(moved, base, target)
            before, after = (class_probability(each, base) for each in (clean, moved))
            values[f'{role}_drop'] = 100 * (before - after)
        return found, values

    def summarise(self, values: dict[str, Tensor]) -> dict[str, float]:
        """See :meth:`ModelMetric.summarise`."""
        means = {name: float(value.mean()) for name, value in values.items()}
        student, teacher = (
            means[f'{role}_clean'] - means[f'{role}_boundary'] for role in ('student', 'teacher')
        )
        seen = dict(seen=100 * student / teacher) if teacher else {}
        return dict(seen, **means, samples=len(values['teacher_clean']))
