"""Pure tensor functions of the metrics: similarity, agreement, calibration, draws.

Shapes: perturbations are (N, ...), logits (N, K). Everything is computed in float32.
"""

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
    # never negative but for rounding
    return (teacher.exp() * (teacher - student)).sum(dim=1).clamp(min=0)


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
    cumulative = probabilities.double().cumsum(dim=1)
    passed = cumulative <= uniforms.to(cumulative).unsqueeze(1) * cumulative[:, -1:]
    return passed.sum(dim=1)


def _flat(perturbation: Tensor) -> Tensor:
    return perturbation.float().flatten(1)
