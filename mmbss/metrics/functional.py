"""Pure tensor functions of the metrics: similarity, agreement, calibration, draws.

Shapes: perturbations are (N, ...), logits (N, K). Everything is computed in float32.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def magnitude_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Ratio of the shorter to the longer L2 length of each pair: MagSim of Heo et al.

    Args:
        first: (N, ...) perturbations ``BSS - base sample``.
        second: (N, ...) those of the other network, in the same units.

    Returns:
        (N,) float32 in [0, 1]; 1 where both lengths are 0.

    Examples:
        >>> import torch
        >>> magnitude_similarity(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]]))
        tensor([0.5000])
    """
    lengths = torch.stack([_flat(first).norm(dim=1), _flat(second).norm(dim=1)])
    shorter, longer = lengths.amin(dim=0), lengths.amax(dim=0)
    return torch.where(longer > 0, shorter / longer, 1.0)


def angular_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of the angle between each pair of perturbations: AngSim of Heo et al.

    Args:
        first: (N, ...) perturbations ``BSS - base sample``.
        second: (N, ...) those of the other network, in the same units.

    Returns:
        (N,) float32 in [-1, 1]; 0 where one has no direction.

    Examples:
        >>> import torch
        >>> angular_similarity(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]]))
        tensor([0.8000])
    """
    # of unit vectors, since the product of two lengths may leave the range of float32
    units = [F.normalize(_flat(perturbation), dim=1, eps=1e-30) for perturbation in (first, second)]
    return (units[0] * units[1]).sum(dim=1).clamp(-1, 1)


def same_decision(first_logits: Tensor, second_logits: Tensor) -> Tensor:
    """Whether two networks decide for the same class: (N,) bool."""
    return first_logits.argmax(dim=1) == second_logits.argmax(dim=1)


def kl_divergence(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """``KL(q_t || q_s) = sum_k q_t^k log(q_t^k / q_s^k)`` of each sample, q the softmax at T = 1.

    Args:
        teacher_logits: (N, K).
        student_logits: (N, K).

    Returns:
        (N,) float32, in nats.

    Examples:
        >>> import torch
        >>> kl_divergence(torch.tensor([[50.0, 0.0]]), torch.zeros(1, 2))
        tensor([0.6931])
    """
    teacher, student = (
        logits.float().log_softmax(1) for logits in (teacher_logits, student_logits)
    )
    q_t = teacher.exp()
    # never negative but for rounding
    return (q_t * (teacher - student)).where(q_t != 0, 0).sum(dim=1).clamp(min=0)


def class_probability(logits: Tensor, classes: Tensor) -> Tensor:
    """Probability of one class a row, (N,) int64: (N,) float32, softmax at T = 1.

    Examples:
        >>> import torch
        >>> class_probability(torch.zeros(1, 4), torch.tensor([2]))
        tensor([0.2500])
    """
    return logits.float().softmax(dim=1).gather(1, classes.unsqueeze(1)).squeeze(1)


def expected_calibration_error(confidence: Tensor, correct: Tensor, num_bins: int = 15) -> Tensor:
    """Mean distance between confidence and accuracy (Guo et al., arXiv 1706.04599, equation 3).

    Samples are put into bins of equal width by their confidence, ``((m - 1) / M, m / M]``; the
    distance of each bin is weighted by its number of samples.

    Args:
        confidence: (N,) probability of the class decided for.
        correct: (N,) bool, whether that class is right.
        num_bins: M.

    Returns:
        A scalar in [0, 1] of the dtype of ``confidence``; 0 for no sample.

    Examples:
        >>> import torch
        >>> confidence = torch.tensor([0.9, 0.9, 0.5])
        >>> expected_calibration_error(confidence, torch.tensor([True, False, True]), num_bins=2)
        tensor(0.4333)
    """
    bins = ((confidence * num_bins).ceil().long() - 1).clamp(0, num_bins - 1)
    # |accuracy - confidence| of a bin times its size is the sum of the differences in it
    sums = confidence.new_zeros(num_bins).index_add(0, bins, correct.to(confidence) - confidence)
    return sums.abs().sum() / max(len(confidence), 1)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Temperature T at which ``softmax(logits / T)`` explains the labels best (Guo et al., 4.2).

    The mean cross-entropy is convex in 1 / T, so its slope
    ``mean over n of (sum_k p_k z_k - z_y)`` has one zero, which is bracketed by halves.

    Args:
        logits: (N, K) float64 logits z, or logarithms of probabilities; finite.
        labels: (N,) int64 classes y.

    Returns:
        T in [0.01, 100]; an end where none is best, as for logits that are always right; 1 for no
        sample.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 1])), 3)  # 4 / log 2
        5.771
    """
    if not len(labels):
        return 1.0
    low, high = -math.log(100), math.log(100)
    own = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
    for _ in range(50):
        middle = (low + high) / 2  # log of 1 / T
        probabilities = (math.exp(middle) * logits).softmax(dim=1)
        slope = ((probabilities * logits).sum(dim=1) - own).mean()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def other_classes(
    classes: Tensor, num_classes: int, uniforms: Tensor, count: int | None = None
) -> Tensor:
    """Draw other classes for each sample, without replacement: neighbours on the circle of them.

    Each class has the same chance, and a sample's draw depends on its own number alone.

    Args:
        classes: (N,) int64.
        num_classes: K.
        uniforms: (N,) in [0, 1).
        count: J; all K - 1 if None or larger.

    Returns:
        (N, J) int64.

    Examples:
        >>> import torch
        >>> other_classes(torch.tensor([0, 3]), 5, torch.tensor([0.0, 0.9]), count=2)
        tensor([[1, 2],
                [2, 4]])
    """
    others = num_classes - 1
    first = (uniforms.double() * others).long().unsqueeze(1)
    steps = torch.arange(min(count or others, others), device=classes.device)
    return (classes.unsqueeze(1) + 1 + (first + steps) % others) % num_classes


def classes_at(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one class a sample by the inverse of the cumulative distribution.

    A sample's class depends on its own number alone, not on the batch it comes in.

    Args:
        probabilities: (N, K), each row sums to 1.
        uniforms: (N,) in [0, 1).

    Returns:
        (N,) int64, classes with a probability above 0.

    Examples:
        >>> import torch
        >>> classes_at(torch.tensor([[0.2, 0.0, 0.8]]).expand(2, 3), torch.tensor([0.1, 0.3]))
        tensor([0, 2])
    """
    # on the CPU, for CUDA has no sum of this kind where deterministic algorithms are asked for
    cumulative = probabilities.double().cpu().cumsum(dim=1)
    passed = cumulative <= uniforms.to(cumulative).unsqueeze(1) * cumulative[:, -1:]
    return passed.sum(dim=1).to(probabilities.device)


def _flat(perturbation: Tensor) -> Tensor:
    return perturbation.float().flatten(1)
