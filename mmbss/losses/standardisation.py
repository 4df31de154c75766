"""Standardisation of logits before their softmax (Sun et al., CVPR 2024, arXiv 2403.01427)."""

import torch.nn.functional as F
from torch import Tensor

#: Added to the variance, so that equal logits have a finite gradient.
EPSILON = 1e-8


def standardise_logits(logits: Tensor) -> Tensor:
    """Z-score of each sample's logits over the classes: ``(z - mean(z)) / std(z)``.

    A student that matches standardised logits need not have the teacher's range of logits, only
    its relations between the classes. The standard deviation is that of the population.

    Args:
        logits: (N, K), any floating dtype.

    Returns:
        (N, K) float32; 0 where all logits of a sample are equal.

    Examples:
        >>> import torch
        >>> standardise_logits(torch.tensor([[3.0, 1.0], [7.0, 7.0]]))
        tensor([[ 1., -1.],
                [ 0.,  0.]])
    """
    return F.layer_norm(logits.float(), logits.shape[1:], eps=EPSILON)
