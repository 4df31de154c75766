"""Find what there is to learn at a teacher's decision boundary, in plain torch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmbss.attacks import Attack
from mmbss.attacks.base import STATISTICS
from mmbss.attacks.functional import Bounds
from mmbss.boundary.sampling import (
    BASE_SAMPLES,
    TARGET_CLASSES,
    choose_target_classes,
    select_base_samples,
)
from mmbss.engine.errors import ConfigError

#: Which of the samples that were attacked are kept.
TRAIN_ON = ('accepted', 'all')


@dataclass(frozen=True)
class BoundarySamples:
    """Samples at the boundary; there may be none.

    Attributes:
        inputs: (M, ...) in the units of the inputs they were found from.
        teacher_logits: (M, K) on ``inputs``.
        labels: (M,) int64 base classes.
        rows: (M,) int64, which of the inputs each was found from.
        weights: (M,) float32 weights in the loss, None where they are equal.
        statistics: Scalars that tell what the attack did, of all samples that were attacked:
            ``samples``, the number of base samples, and those of
            :meth:`~mmbss.attacks.AttackResult.statistics`.
    """

    inputs: Tensor
    teacher_logits: Tensor
    labels: Tensor
    rows: Tensor
    weights: Tensor | None
    statistics: dict[str, Tensor]


def find_boundary_samples(
    teacher: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
    attack: Attack,
    *,
    teacher_logits: Tensor | None = None,
    student_logits: Tensor | None = None,
    base_samples: str = 'random',
    num_base_samples: int = 64,
    target_class: str = 'probability',
    min_target_probability: float = 0.0,
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
        labels: (N,) int64.
        attack: Moves the base samples onto the boundary.
        teacher_logits: (N, K) on ``inputs``, where they are known; else the teacher is asked.
        student_logits: (N, K) on ``inputs``; needed by ``base_samples='disagreement'``.
        base_samples: Which are attacked: those of largest ``'disagreement'``, at ``'random'``, or
            ``'all'``; see :func:`~mmbss.boundary.sampling.select_base_samples`.
        num_base_samples: Most of them, except with ``'all'``.
        target_class: See :func:`~mmbss.boundary.sampling.choose_target_classes`.
        min_target_probability: See there.
        train_on: Keep the ``'accepted'`` samples only, as in the paper, or ``'all'`` that were
            attacked, as in the authors' code.
        bounds: Lowest and highest value of an input; None leaves the samples unbounded.

    Returns:
        The samples, without gradient.

    Raises:
        ConfigError: See :func:`check_search`; or if ``'disagreement'`` lacks the student's answers.

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
    check_search(base_samples, num_base_samples, target_class, min_target_probability, train_on)
    if base_samples == 'disagreement' and student_logits is None:
        raise ConfigError("base_samples='disagreement' needs the student's answers")
    if teacher_logits is None:
        with torch.no_grad():
            teacher_logits = teacher(inputs)
    chosen = select_base_samples(
        teacher_logits, labels, num_base_samples, base_samples, student_logits
    )
    indices, target, weights = choose_target_classes(
        teacher_logits[chosen], labels[chosen], target_class, min_target_probability
    )
    statistics = {'samples': torch.tensor(float(len(chosen)), device=inputs.device)}
    chosen = chosen[indices]
    base = labels[chosen]
    if not len(chosen):
        statistics |= dict.fromkeys(STATISTICS, torch.zeros_like(statistics['samples']))
        return BoundarySamples(
            inputs[chosen], teacher_logits[chosen], base, chosen, weights, statistics
        )
    result = attack(teacher, inputs[chosen], base, target, bounds)
    kept = result.success if train_on == 'accepted' else torch.ones_like(result.success)
    return BoundarySamples(
        inputs=result.samples[kept],
        teacher_logits=result.logits[kept],
        labels=base[kept],
        rows=chosen[kept],
        weights=None if weights is None else weights[kept],
        statistics=statistics | result.statistics(),
    )


def check_search(
    base_samples: str,
    num_base_samples: int,
    target_class: str,
    min_target_probability: float,
    train_on: str,
) -> None:
    """Refuse settings of :func:`find_boundary_samples` that are out of their range.

    Raises:
        ConfigError: Naming the setting.
    """
    check_choice('base_samples', base_samples, BASE_SAMPLES)
    check_choice('target_class', target_class, TARGET_CLASSES)
    check_choice('train_on', train_on, TRAIN_ON)
    if num_base_samples < 1:
        raise ConfigError(f'num_base_samples must be at least 1, got {num_base_samples}')
    if not 0 <= min_target_probability < 1:
        raise ConfigError(
            f'min_target_probability must be at least 0 and below 1, got {min_target_probability}'
        )
    if min_target_probability and target_class != 'all':
        raise ConfigError(
            "min_target_probability is for target_class='all', but target_class is "
            f'{target_class!r}'
        )


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        ConfigError: Naming the choices.
    """
    if value not in choices:
        listed = ' or '.join([', '.join(map(repr, choices[:-1])), repr(choices[-1])])
        raise ConfigError(f'{key} must be {listed}, got {value!r}')
