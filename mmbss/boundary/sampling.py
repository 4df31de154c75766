"""Which samples are attacked, and toward which class: pure functions.

Shapes: logits are (N, K), labels (N,) int64 class indices. Heo et al., section 3.3.
"""

import torch
from torch import Tensor

from mmbss.attacks.functional import has_softmax, highest_other_logit, without_classes
from mmbss.engine.ranges import check_choice

#: Which class a sample belongs to.
BASE_CLASSES = ('label', 'teacher')
#: Which samples may be base samples, by who has to be right.
CANDIDATES = ('both_correct', 'teacher_correct', 'all')
#: How base samples are chosen among those that are classified correctly.
BASE_SAMPLES = ('disagreement', 'random', 'all')
#: How the classes are chosen toward which a base sample is attacked.
TARGET_CLASSES = ('probability', 'second_most_probable')


def correct(labels: Tensor, *logits: Tensor) -> Tensor:
    """Whether all of these networks classify a sample correctly: (N,) bool.

    Args:
        labels: (N,) int64.
        *logits: (N, K) of each network.
    """
    right = torch.ones_like(labels, dtype=torch.bool)
    for each in logits:
        right &= each.argmax(dim=1) == labels
    return right


def disagreement(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """How differently the two see the wrong classes: ``sum over k != y of (q_t^k - q_s^k)^2``.

    Returns:
        (N,) float32, with q the softmax at temperature 1.
    """
    difference = teacher_logits.float().softmax(dim=1) - student_logits.float().softmax(dim=1)
    squared = difference.square().scatter(1, labels.unsqueeze(1), 0.0)
    return squared.sum(dim=1)


def select_base_samples(
    teacher_logits: Tensor,
    labels: Tensor,
    num_samples: int,
    by: str = 'disagreement',
    student_logits: Tensor | None = None,
    candidates: str | None = None,
) -> Tensor:
    """Choose the base samples of a batch, as published among those that are classified correctly.

    Args:
        teacher_logits: (N, K).
        labels: (N,) int64 base classes.
        num_samples: How many at most, unless ``by`` is ``'all'``.
        by: ``'disagreement'``: those with the largest :func:`disagreement`, which takes the
            student's answers; ``'random'``: any; ``'all'`` of them.
        student_logits: (N, K), needed where the student is asked.
        candidates: Who has to be right: ``'both_correct'``, the default where the student's
            answers are given, as published; ``'teacher_correct'``, the default where they are not;
            or nobody, ``'all'``.

    Returns:
        (M,) int64 indices into the batch.

    Raises:
        ConfigError: If there is no such way to choose.
    """
    check_choice(None, BASE_SAMPLES, by=by)
    if candidates is None:
        candidates = 'teacher_correct' if student_logits is None else 'both_correct'
    asked = [] if candidates == 'all' else [teacher_logits]
    if candidates == 'both_correct':
        assert student_logits is not None
        asked.append(student_logits)
    # without a softmax there is nothing to draw a target class from, and nothing to learn
    rows = (correct(labels, *asked) & has_softmax(teacher_logits)).nonzero().squeeze(1)
    if by == 'all' or len(rows) <= num_samples:
        return rows
    if by == 'random':
        scores = torch.rand(len(rows), device=rows.device)
    else:
        assert student_logits is not None
        scores = disagreement(student_logits[rows], teacher_logits[rows], labels[rows])
    return rows[scores.topk(num_samples).indices]


def has_target(teacher_logits: Tensor, base: Tensor) -> Tensor:
    """Whether a class beside the base class is possible, its logit above ``-inf``: (N,) bool."""
    return highest_other_logit(teacher_logits, base) > -torch.inf


def target_probabilities(teacher_logits: Tensor, base: Tensor) -> Tensor:
    """Probability of each class to be drawn as target: ``q_t^k / (1 - q_t^b)``, 0 for ``k = b``.

    Computed as a softmax over the other classes, which is the same number and stays exact where
    the teacher is so sure that ``1 - q_t^b`` rounds to 0.

    Returns:
        (N, K) float32, each row sums to 1; NaN where there is no target.

    Examples:
        >>> import torch
        >>> target_probabilities(torch.tensor([[90.0, 1.0, 1.0]]), torch.tensor([0]))
        tensor([[0.0000, 0.5000, 0.5000]])
    """
    return without_classes(teacher_logits, base).softmax(dim=1)


def draw_target_classes(teacher_logits: Tensor, base: Tensor) -> Tensor:
    """Draw one target class for each sample from :func:`target_probabilities`: (N,) int64."""
    probabilities = target_probabilities(teacher_logits, base)
    return torch.multinomial(probabilities, num_samples=1).squeeze(1)


def choose_target_classes(
    teacher_logits: Tensor, base: Tensor, by: str = 'probability'
) -> tuple[Tensor, Tensor]:
    """Choose the class toward which each base sample is attacked.

    Args:
        teacher_logits: (M, K) on the base samples.
        base: (M,) int64 base classes.
        by: ``'probability'``: drawn from :func:`target_probabilities`, as published, which stands
            for the sum over k in the paper's loss; ``'second_most_probable'``: the one with the
            largest probability but the base class.

    Returns:
        Indices (A,) of the base samples that have a target, see :func:`has_target`, and their
        target classes (A,); int64.

    Raises:
        ConfigError: If there is no such way to choose.

    Examples:
        >>> logits, base = torch.tensor([[9.0, 1.0, 2.0], [0.0, 9.0, 5.0]]), torch.tensor([0, 1])
        >>> choose_target_classes(logits, base, by='second_most_probable')
        (tensor([0, 1]), tensor([2, 2]))
    """
    check_choice(None, TARGET_CLASSES, by=by)
    indices = has_target(teacher_logits, base).nonzero().squeeze(1)
    teacher_logits, base = teacher_logits[indices], base[indices]
    if by == 'probability':
        return indices, draw_target_classes(teacher_logits, base)
    return indices, target_probabilities(teacher_logits, base).argmax(dim=1)


def choose_partners(
    teacher_logits: Tensor, base: Tensor, pool_logits: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw, for each base sample, another input that the teacher decides otherwise.

    Args:
        teacher_logits: (M, K) on the base samples.
        base: (M,) int64 base classes.
        pool_logits: (P, K), the teacher's on the inputs to choose from.

    Returns:
        Indices (A,) of those base samples for which there is one, ascending, and its row (A,) in
        the pool; int64.

    Examples:
        >>> logits = torch.tensor([[9.0, 1.0], [0.0, 5.0]])
        >>> choose_partners(logits, torch.tensor([0, 1]), logits)
        (tensor([0, 1]), tensor([1, 0]))
    """
    classes = pool_logits.argmax(dim=1)
    is_other = (classes != base.unsqueeze(1)) & (classes != teacher_logits.argmax(1, keepdim=True))
    is_other &= has_softmax(pool_logits)
    indices = is_other.any(dim=1).nonzero().squeeze(1)
    if not len(indices):
        return indices, indices
    return indices, torch.multinomial(is_other[indices].float(), num_samples=1).squeeze(1)
