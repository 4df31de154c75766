"""Which samples are attacked, and toward which class: pure functions.

Shapes: logits are (N, K), labels (N,) int64 class indices. Heo et al., section 3.3.
"""

import torch
from torch import Tensor


def both_correct(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Whether student and teacher both classify a sample correctly: (N,) bool."""
    student_right = student_logits.argmax(dim=1) == labels
    teacher_right = teacher_logits.argmax(dim=1) == labels
    return student_right & teacher_right


def disagreement(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """How differently the two see the wrong classes: ``sum over k != y of (q_t^k - q_s^k)^2``.

    Returns:
        (N,) float32, with q the softmax at temperature 1.
    """
    difference = teacher_logits.float().softmax(dim=1) - student_logits.float().softmax(dim=1)
    squared = difference.square().scatter(1, labels.unsqueeze(1), 0.0)
    return squared.sum(dim=1)


def select_base_samples(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, num_samples: int
) -> Tensor:
    """Choose the base samples of a batch.

    Returns:
        (M,) int64 indices into the batch, M <= ``num_samples``: those that both networks
        classify correctly, and of these the ones with the largest :func:`disagreement`.
    """
    candidates = both_correct(student_logits, teacher_logits, labels).nonzero().squeeze(1)
    if len(candidates) <= num_samples:
        return candidates
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
