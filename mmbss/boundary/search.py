"""Find what there is to learn at a teacher's decision boundary, in plain torch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmbss.attacks import Attack, Partners
from mmbss.attacks.base import STATISTICS, check_evaluating
from mmbss.attacks.functional import Bounds, ToLogits
from mmbss.boundary.distance_labels import boundary_logits, decision_logits
from mmbss.boundary.queries import Queries
from mmbss.boundary.sampling import choose_partners, choose_target_classes, select_base_samples
from mmbss.boundary.search_checks import check_search
from mmbss.engine.errors import ConfigError


@dataclass(frozen=True)
class BoundarySamples:
    """Samples at the boundary; there may be none.

    Attributes:
        inputs: (M, ...) in the units and of the type of the inputs they were found from.
        teacher_logits: (M, K) on ``inputs``.
        labels: (M,) int64 base classes.
        rows: (M,) int64, which of the inputs each was found from.
        statistics: Scalars that tell what the attack did, of all samples that were attacked:
            ``samples``, the number of base samples, ``queries``, the number of inputs that the
            teacher was asked about, and those of
            :meth:`~mmbss.attacks.AttackResult.statistics`.
    """

    inputs: Tensor
    teacher_logits: Tensor
    labels: Tensor
    rows: Tensor
    statistics: dict[str, Tensor]


def find_boundary_samples(
    teacher: ToLogits,
    inputs: Tensor,
    labels: Tensor | None,
    attack: Attack,
    *,
    teacher_logits: Tensor | None = None,
    student_logits: Tensor | None = None,
    ask_student: ToLogits | None = None,
    base_class: str = 'label',
    candidates: str | None = None,
    base_samples: str = 'random',
    num_base_samples: int = 64,
    target_class: str | None = None,
    teacher_says: str = 'logits',
    train_on: str = 'accepted',
    bounds: Bounds | None = None,
) -> BoundarySamples:
    """Choose base samples and target classes, attack, and keep what a student can learn.

    Needs no runner and no mmpretrain model. Base samples are samples that the teacher classifies
    correctly, and the student too where its answers are given, as published (Heo et al., AAAI
    2019, section 3.3).

    Args:
        teacher: Maps (N, ...) inputs to (N, K) logits, each row independent of the others.
        inputs: (N, ...) in the units of the teacher's input.
        labels: (N,) int64; None where there are none, with ``base_class='teacher'``.
        attack: Moves the base samples onto the boundary.
        teacher_logits: (N, K) on ``inputs``, where they are known; else the teacher is asked.
        student_logits: (N, K) on ``inputs``; needed by ``base_samples='disagreement'``.
        ask_student: Maps inputs, as the teacher gets them, to the student's logits; for attacks
            that need it.
        base_class: The class of a sample is its ``'label'``, or the ``'teacher'``'s decision.
        candidates: See :func:`~mmbss.boundary.sampling.select_base_samples`.
        base_samples: Which are attacked: those of largest ``'disagreement'``, at ``'random'``, or
            ``'all'``; see there.
        num_base_samples: Most of them, except with ``'all'``.
        target_class: See :func:`~mmbss.boundary.sampling.choose_target_classes`; not for attacks
            that move toward partners, whose target is the partner's class.
        teacher_says: Whether the teacher's ``'logits'`` are used, or no more than its ``'class'``.
            Then the logits that come back are equal for the two classes at the boundary, see
            :func:`~mmbss.boundary.distance_labels.boundary_logits`.
        train_on: Keep the ``'accepted'`` samples only, as in the paper, or ``'all'`` that were
            attacked, as in the authors' code.
        bounds: Lowest and highest value of an input; None leaves the samples unbounded.

    Returns:
        The samples, without gradient.

    Raises:
        ConfigError: See :func:`~mmbss.boundary.search_checks.check_search`; or if labels or the
            student's answers are needed and missing, or the teacher is in training mode.

    Examples:
        >>> import torch
        >>> from mmbss.attacks import NewtonAttack
        >>> teacher = torch.nn.Linear(2, 2, bias=False).eval()
        >>> teacher.weight.data = torch.eye(2)
        >>> inputs, labels = torch.tensor([[3.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 0])
        >>> found = find_boundary_samples(teacher, inputs, labels, NewtonAttack(overshoot=0.01))
        >>> found.rows, found.inputs.round(decimals=1)
        (tensor([0]), tensor([[2., 2.]]))
    """
    check_search(
        attack,
        base_class=base_class,
        candidates=candidates,
        base_samples=base_samples,
        num_base_samples=num_base_samples,
        target_class=target_class,
        teacher_says=teacher_says,
        train_on=train_on,
    )
    if student_logits is None and base_samples == 'disagreement':
        raise ConfigError("base_samples='disagreement' needs the student's answers")
    if student_logits is None and candidates == 'both_correct':
        raise ConfigError("candidates='both_correct' needs the student's answers")
    if attack.needs_student and ask_student is None:
        raise ConfigError(f'{type(attack).__name__} asks the student: give ask_student')
    if labels is not None and labels.shape != inputs.shape[:1]:
        raise ConfigError(f'{len(inputs)} inputs need as many labels, got {tuple(labels.shape)}')
    check_evaluating(teacher)
    network = Queries(teacher)
    if teacher_logits is None:
        with torch.no_grad():
            teacher_logits = network(inputs)
    if teacher_says == 'class':
        teacher_logits = decision_logits(teacher_logits)

    def ask(points: Tensor) -> Tensor:
        logits = network(points)
        return decision_logits(logits) if teacher_says == 'class' else logits

    if base_class == 'teacher':
        labels = teacher_logits.argmax(dim=1)
    elif labels is None:
        raise ConfigError(
            "base_class='label' needs labels, but the images have none: set base_class='teacher', "
            "the teacher's own decision"
        )
    chosen = select_base_samples(
        teacher_logits, labels, num_base_samples, base_samples, student_logits, candidates
    )
    partners = None
    if attack.needs_partners:
        indices, rows = choose_partners(teacher_logits[chosen], labels[chosen], teacher_logits)
        chosen = chosen[indices]
        target = teacher_logits[rows].argmax(dim=1)
        partners = Partners(
            inputs[rows],
            teacher_logits[chosen],
            ask_student,
            teacher_logits[rows] if teacher_says == 'logits' else None,
        )
    else:
        indices, target = choose_target_classes(
            teacher_logits[chosen], labels[chosen], target_class or 'probability'
        )
        chosen = chosen[indices]
    statistics = {'samples': torch.full((), float(len(chosen)), device=inputs.device)}
    base = labels[chosen]
    if not len(chosen):
        statistics['queries'] = network.statistic(inputs)
        statistics |= dict.fromkeys(STATISTICS, torch.zeros_like(statistics['samples']))
        return BoundarySamples(inputs[chosen], teacher_logits[chosen], base, chosen, statistics)
    result = attack(ask, inputs[chosen], base, target, bounds, partners)
    if result.success.dtype is not torch.bool:  # which torch would take for rows
        raise ConfigError(f'{type(attack).__name__} returns success of {result.success.dtype}')
    statistics['queries'] = network.statistic(inputs)
    logits = result.logits
    if teacher_says == 'class':
        # a rejected sample has one class alone
        decision = logits.argmax(dim=1)
        other = torch.where(result.success, result.target, decision)
        logits = boundary_logits(
            torch.where(result.success, base, decision), other, logits.shape[1]
        )
    kept = torch.arange(len(chosen), device=chosen.device)
    if train_on == 'accepted':
        kept = kept[result.success]
    return BoundarySamples(
        inputs=result.samples[kept].to(inputs.dtype),
        teacher_logits=logits[kept],
        labels=base[kept],
        rows=chosen[kept],
        statistics=statistics | result.statistics(),
    )
