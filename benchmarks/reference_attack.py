"""The attack of Heo et al. as published, transcribed plainly: the yardstick of parity and speed.

Every step runs the whole batch forward and backward, until all samples have left their base
class or the steps are used up; nothing is rejected. Source: arXiv 1805.05532, section 3.1, with
the settings of the authors' code (eta 0.3, eps 1e-4, 10 steps, clamp at 2.5).
"""

from collections.abc import Callable

import torch
from torch import Tensor


def reference_attack(
    model: Callable[[Tensor], Tensor],
    samples: Tensor,
    base: Tensor,
    target: Tensor,
    step_size: float = 0.3,
    overshoot: float = 1e-4,
    num_steps: int = 10,
    limit: float = 2.5,
) -> Tensor:
    """Move samples toward their target classes as the authors' code does.

    Args:
        model: Maps (N, C, H, W) normalised images to (N, K) logits.
        samples: (N, C, H, W) float32.
        base: (N,) int64 classes to leave.
        target: (N,) int64 classes to go to.
        step_size: eta.
        overshoot: eps, in units of the logits.
        num_steps: I_max.
        limit: Images are clamped to [-limit, limit] after each step.

    Returns:
        (N, C, H, W) float32.
    """
    images = samples.detach().clone()
    rows = torch.arange(len(samples))
    for _ in range(num_steps):
        images.requires_grad_(True)
        logits = model(images)
        in_base = logits.argmax(dim=1) == base
        if not in_base.any():
            break
        loss = logits[rows, base] - logits[rows, target]
        (gradient,) = torch.autograd.grad(loss.sum(), images)
        with torch.no_grad():
            moved = images.clone()
            for row in rows.tolist():
                if in_base[row] and gradient[row].norm() > 0:
                    direction = gradient[row] / gradient[row].norm()
                    moved[row] -= step_size * (loss[row] + overshoot) * direction
            images = moved.clamp(-limit, limit)
    return images.detach()
