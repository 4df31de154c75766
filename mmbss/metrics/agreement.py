"""How often and how closely a student says what its teacher says."""

from typing import Any

import torch
from torch import Tensor

from mmbss.attacks import Attack
from mmbss.boundary.sampling import correct
from mmbss.engine.build import build_checked
from mmbss.metrics.functional import kl_divergence, same_decision
from mmbss.metrics.teacher_metric import TeacherMetric
from mmbss.registry import ATTACKS, METRICS


@METRICS.register_module()
class Agreement(TeacherMetric):
    """Agreement of a student with its teacher, on clean samples or on boundary samples.

    ``top1`` is the share of the ``samples`` on which both decide for the same class, in percent,
    right or wrong; ``kl`` the mean of ``KL(teacher || student)`` at temperature 1, in nats. Both
    are given too for those samples alone on which the teacher is wrong, where no label speaks for
    its answer: ``top1_teacher_wrong``, ``kl_teacher_wrong``, left out without such a sample, and
    ``samples_teacher_wrong``.

    With an ``attack`` the samples are those that it finds on the boundary of the teacher, from
    the samples that the teacher classifies correctly, toward classes drawn by its probabilities;
    they are the same for every student. Where there is none, ``top1`` and ``kl`` are left out,
    with a warning.

    Args:
        attack: Config of the attack. Default None: clean samples.
        teacher: See :class:`TeacherMetric`.
        **kwargs: ``num_samples``, ``seed``, ``prefix`` (by default ``agreement``, with an attack
            ``boundary_agreement``) and other arguments of :class:`ModelMetric`.

    Raises:
        ConfigError: If ``attack`` is no config of an attack, and as :class:`TeacherMetric` does.
    """

    fields = ('agree', 'kl', 'wrong')
    nothing = (
        'the teacher classifies no sample correctly that the attack then moves onto its boundary, '
        'so there is nothing to agree on'
    )

    def __init__(
        self, attack: dict[str, Any] | None = None, teacher: Any = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault('prefix', 'agreement' if attack is None else 'boundary_agreement')
        super().__init__(teacher, **kwargs)
        self.attack: Attack | None = None
        if attack is not None:
            self.attack = build_checked(ATTACKS, attack, 'Agreement.attack')

    def measure(
        self, inputs: Tensor, labels: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`ModelMetric.measure`."""
        samples = self.teacher.from_student(inputs)
        logits = self.teacher_logits(samples)
        wrong = ~correct(labels, logits)
        measured = torch.ones_like(wrong)
        if self.attack is not None:
            measured, boundary = self.boundary_samples(
                self.attack, samples, logits, labels, uniforms
            )
            samples, logits, _ = boundary
        if not measured.any():
            return measured, {}
        student_logits = self.student_logits(samples)
        agree, kl = same_decision(logits, student_logits), kl_divergence(logits, student_logits)
        return measured, dict(agree=agree, kl=kl, wrong=wrong[measured])

    def summarise(self, values: dict[str, Tensor]) -> dict[str, float]:
        """See :meth:`ModelMetric.summarise`."""
        agree, kl, wrong = values['agree'], values['kl'], values['wrong'].bool()
        metrics = dict(top1=100 * float(agree.mean()), kl=float(kl.mean()), samples=len(kl))
        if self.attack is None:
            metrics['samples_teacher_wrong'] = int(wrong.sum())
            if wrong.any():
                metrics['top1_teacher_wrong'] = 100 * float(agree[wrong].mean())
                metrics['kl_teacher_wrong'] = float(kl[wrong].mean())
        return metrics
