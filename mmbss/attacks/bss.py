"""The boundary supporting sample attack of Heo et al. (AAAI 2019, arXiv 1805.05532)."""

from collections.abc import Callable

import torch
from torch import Tensor

from mmbss.attacks.base import Attack, AttackResult
from mmbss.attacks.functional import (
    Bounds,
    in_base_class,
    in_target_class,
    margin,
    newton_step,
    project,
    published_step,
)
from mmbss.registry import ATTACKS

STEPS = dict(published=published_step, newton=newton_step)


@ATTACKS.register_module()
class BSSAttack(Attack):
    """Walks each sample down its margin until it has just left the base class.

    A sample stops as soon as (a) the target class beats the base class: it is accepted; (b) a
    third class beats both, or (c) ``num_steps`` gradients are used up: it is rejected. Where
    (a) and (b) fall together the third class has won, and the sample is rejected. A sample that
    does not start in its base class does not move and is rejected.

    Only samples that still move are in the batch, only the gradient of the input is computed,
    and the returned logits are those of the last forward pass.

    Args:
        num_steps: Most gradients evaluated for a sample (I_max).
        step_size: Share of the way to the boundary that a step takes (eta).
        overshoot: Added to the margin so that samples cross the boundary instead of creeping
            up to it (eps), in units of the logits.
        step: ``'published'`` divides by the norm of the gradient once, as the paper does;
            ``'newton'`` by its square, which lands near the boundary whatever the slope.

    Raises:
        ValueError: If a parameter is out of its range.

    Examples:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> model.weight.data = torch.eye(2)
        >>> attack = BSSAttack(step='newton', step_size=1.0)
        >>> base, target = torch.tensor([0]), torch.tensor([1])
        >>> result = attack(model.eval(), torch.tensor([[2.0, 1.0]]), base, target)
        >>> result.success, result.samples.round(decimals=2)
        (tensor([True]), tensor([[1.5000, 1.5000]]))
    """

    def __init__(
        self,
        num_steps: int = 10,
        step_size: float = 0.3,
        overshoot: float = 1e-4,
        step: str = 'published',
    ) -> None:
        if num_steps < 1:
            raise ValueError(f'BSSAttack: num_steps must be at least 1, got {num_steps}')
        if not step_size > 0:
            raise ValueError(f'BSSAttack: step_size must be positive, got {step_size}')
        if not overshoot >= 0:
            raise ValueError(f'BSSAttack: overshoot must not be negative, got {overshoot}')
        if step not in STEPS:
            raise ValueError(f'BSSAttack: step must be one of {list(STEPS)}, got {step!r}')
        self.num_steps = num_steps
        self.step_size = step_size
        self.overshoot = overshoot
        self.step = STEPS[step]

    def run(
        self,
        model: Callable[[Tensor], Tensor],
        samples: Tensor,
        base: Tensor,
        target: Tensor,
        bounds: Bounds | None,
    ) -> AttackResult:
        """See :meth:`Attack.__call__`."""
        found = samples.clone()
        steps = torch.zeros_like(base)
        moving = torch.arange(len(samples), device=samples.device)
        logits: Tensor | None = None
        for step in range(self.num_steps + 1):
            is_last = step == self.num_steps
            current = found[moving].requires_grad_(not is_last)
            output = model(current).float()
            if logits is None:
                logits = output.detach().clone()
            else:
                logits[moving] = output.detach()
            going_on = in_base_class(output.detach(), base[moving])
            if is_last or not going_on.any():
                break
            margins = margin(output, base[moving], target[moving])
            (gradient,) = torch.autograd.grad(margins.sum(), current)
            moving, margins, gradient = moving[going_on], margins[going_on], gradient[going_on]
            change = self.step(margins.detach(), gradient, self.step_size, self.overshoot)
            found[moving] = project(found[moving] + change, bounds)
            steps[moving] += 1
        assert logits is not None
        success = (steps > 0) & in_target_class(logits, base, target)
        return AttackResult(found, logits, base, target, success, steps)
