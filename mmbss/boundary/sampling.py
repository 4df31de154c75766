"""Which samples are attacked, and toward which class: pure functions.

Shapes: logits are (N, K), labels (N,) int64 class indices. Heo et al., section 3.3.
"""

import torch
from torch import Tensor

#: How base samples are chosen among those that are classified correctly.
BASE_SAMPLES = ('disagreement', 'random', 'all')
#: How the classes are chosen toward which a base sample is attacked.
TARGET_CLASSES = ('probability', 'uniform', 'second_most_probable', 'all')


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
) -> Tensor:
    """Choose the base samples of a batch among those that are classified correctly.

    Args:
        teacher_logits: (N, K).
        labels: (N,) int64.
        num_samples: How many at most, unless ``by`` is ``'all'``.
        by: ``'disagreement'``: those with the largest :func:`disagreement`, which takes the
            student's answers; ``'random'``: any; ``'all'`` of them.
        student_logits: (N, K) where the student has to be right too, as published.

    Returns:
        (M,) int64 indices into the batch.
    """
    answers = [teacher_logits] if student_logits is None else [student_logits, teacher_logits]
    # of NaN or infinity there is no softmax to draw a target class from; a class may be ruled out
    has_softmax = (teacher_logits < torch.inf).all(dim=1)
    candidates = (correct(labels, *answers) & has_softmax).nonzero().squeeze(1)
    if by == 'all' or len(candidates) <= num_samples:
        return candidates
    if by == 'random':
        scores = torch.rand(len(candidates), device=candidates.device)
    else:
        assert student_logits is not None
        scores = disagreement(
            student_logits[candidates], teacher_logits[candidates], labels[candidates]
        )
    return candidates[scores.topk(num_samples).indices]


def target_probabilities(teacher_logits: Tensor, base: Tensor) -> Tensor:
    """Probability of each class to be drawn as target: ``q_t^k / (1 - q_t^b)``, 0 for ``k = b``.

    Computed as a softmax over the other classes, which is the same number and stays exact where
    the teacher is so sure that ``1 - q_t^b`` rounds to 0.

    Returns:
        (N, K) float32, each row sums to 1.

    Examples:
        >>> import torch
        >>> target_probabilities(torch.tensor([[90.0, 1.0, 1.0]]), torch.tensor([0]))
        tensor([[0.0000, 0.5000, 0.5000]])
    """
    others = teacher_logits.float().scatter(1, base.unsqueeze(1), -torch.inf)
    return others.softmax(dim=1)


def draw_target_classes(teacher_logits: Tensor, base: Tensor) -> Tensor:
    """Draw one target class for each sample from :func:`target_probabilities`: (N,) int64."""
    probabilities = target_probabilities(teacher_logits, base)
    return torch.multinomial(probabilities, num_samples=1).squeeze(1)


def choose_target_classes(
    teacher_logits: Tensor, base: Tensor, by: str = 'probability', min_probability: float = 0.0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Choose the classes toward which base samples are attacked.

    Args:
        teacher_logits: (M, K) on the base samples.
        base: (M,) int64 base classes.
        by: ``'probability'``: one class a sample, drawn from :func:`target_probabilities`, as
            published; ``'uniform'``: one, drawn with equal chances; ``'second_most_probable'``:
            the one with the largest probability but the base class; ``'all'``: each class but
            the base class, weighted by its probability, which is the sum over k in the paper's
            loss instead of a draw from it.
        min_probability: Of ``'all'``, the classes that are not more probable are left out.

    Returns:
        Indices (A,) into the base samples, int64, repeated where a sample has several targets;
        the target classes (A,), int64; their weights (A,), float32, None where they are equal.

    Examples:
        >>> logits, base = torch.tensor([[9.0, 1.0, 1.0], [0.0, 9.0, 5.0]]), torch.tensor([0, 1])
        >>> choose_target_classes(logits, base, by='all', min_probability=0.1)
        (tensor([0, 0, 1]), tensor([1, 2, 2]), tensor([0.5000, 0.5000, 0.9933]))
    """
    indices = torch.arange(len(base), device=base.device)
    if by == 'probability':
        return indices, draw_target_classes(teacher_logits, base), None
    if by == 'uniform':
        others = torch.randint(teacher_logits.shape[1] - 1, base.shape, device=base.device)
        return indices, others + (others >= base), None
    probabilities = target_probabilities(teacher_logits, base)
    if by == 'second_most_probable':
        return indices, probabilities.argmax(dim=1), None
    indices, targets = (probabilities > min_probability).nonzero(as_tuple=True)
    return indices, targets, probabilities[indices, targets]
