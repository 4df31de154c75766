"""The boundary supporting sample attack of Heo et al. (AAAI 2019, arXiv 1805.05532)."""

from collections.abc import Callable

import torch
from torch import Tensor

from mmbss.attacks.base import Attack, AttackResult, judge
from mmbss.attacks.closest import walk_to_closest
from mmbss.attacks.functional import (
    Bounds,
    attack_margin,
    in_base_class,
    in_target_class,
    newton_step,
    project,
    published_step,
)
from mmbss.engine.errors import ConfigError
from mmbss.registry import ATTACKS

STEPS = dict(published=published_step, newton=newton_step)
THIRD_CLASS = ('reject', 'accept', 'avoid')


@ATTACKS.register_module()
class BSSAttack(Attack):
    """Walks each sample down its margin until it has just left the base class.

    With the published settings, a sample stops as soon as (a) the target class beats the base
    class: it is accepted; (b) a third class beats both, or (c) ``num_steps`` gradients are used
    up: it is rejected. Where (a) and (b) fall together the third class has won, and the sample
    is rejected. A sample that does not start in its base class does not move and is rejected.

    Only samples that still move are in the batch, only the gradient of the input is computed,
    and the returned logits are those of the forward pass that found the sample.

    Args:
        num_steps: Most gradients evaluated for a sample (I_max).
        step_size: Share of the way to the boundary that a step takes (eta).
        overshoot: Added to the margin so that samples cross the boundary instead of creeping
            up to it (eps), in units of the logits.
        step: ``'published'`` divides by the norm of the gradient once, as the paper does;
            ``'newton'`` by its square, which lands near the boundary whatever the slope.
            ``'closest'`` takes Newton steps, shortens the path where it nears the boundary and
            ends with a search that needs no gradient: closest to boundary and base sample, at
            two to three times the cost of the published step. Use it with ``step_size=1.3,
            overshoot=0.015``; it aims at most three times ``overshoot`` beyond the boundary,
            and ends farther only where ``num_refinements`` run out.
        num_refinements: Most forward passes for a sample that the search of ``'closest'`` makes.
        third_class: What becomes of a sample that a third class wins. ``'reject'``, as in the
            paper; ``'accept'`` takes that class as the target, so that the sample lies on a
            boundary of its base class all the same; ``'avoid'`` goes on until the target class
            wins, by way of the margin between the target and the strongest other class.

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
        num_refinements: int = 8,
        third_class: str = 'reject',
    ) -> None:
        if num_steps < 1:
            raise ConfigError(f'BSSAttack: num_steps must be at least 1, got {num_steps}')
        if not step_size > 0:
            raise ConfigError(f'BSSAttack: step_size must be positive, got {step_size}')
        if not overshoot >= 0:
            raise ConfigError(f'BSSAttack: overshoot must not be negative, got {overshoot}')
        if step not in (*STEPS, 'closest'):
            raise ConfigError(f'BSSAttack: step must be one of {[*STEPS, "closest"]}, got {step!r}')
        if step == 'closest' and num_refinements < 1:
            raise ConfigError(
                f'BSSAttack: num_refinements must be at least 1, got {num_refinements}'
            )
        if step == 'closest' and overshoot == 0:
            raise ConfigError("BSSAttack: step='closest' needs a positive overshoot, got 0")
        if third_class not in THIRD_CLASS:
            raise ConfigError(
                f'BSSAttack: third_class must be one of {list(THIRD_CLASS)}, got {third_class!r}'
            )
        self.num_steps = num_steps
        self.step_size = step_size
        self.overshoot = overshoot
        self.step = step
        self.num_refinements = num_refinements
        self.third_class = third_class

    def run(
        self,
        model: Callable[[Tensor], Tensor],
        samples: Tensor,
        base: Tensor,
        target: Tensor,
        bounds: Bounds | None,
    ) -> AttackResult:
        """See :meth:`Attack.__call__`."""
        if self.step == 'closest':
            found, logits, steps = walk_to_closest(
                model,
                samples,
                base,
                target,
                bounds,
                num_steps=self.num_steps,
                step_size=self.step_size,
                overshoot=self.overshoot,
                num_refinements=self.num_refinements,
                third_class=self.third_class,
            )
        else:
            found, logits, steps = self.walk(model, samples, base, target, bounds)
        targeted = self.third_class != 'accept'
        return judge(found, logits, base, target, steps, attacked=steps > 0, targeted=targeted)

    def walk(
        self,
        model: Callable[[Tensor], Tensor],
        samples: Tensor,
        base: Tensor,
        target: Tensor,
        bounds: Bounds | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Step until each sample leaves its base class: points, logits and steps of each."""
        take_step = STEPS[self.step]
        found = samples.clone()
        steps = torch.zeros_like(base)
        moving = torch.arange(len(samples), device=samples.device)
        logits: Tensor | None = None
        # whoever takes the gradient of some rows of a pass need not be asked again
        remembers = getattr(model, 'takes_gradient_of_rows', False)
        most_will_leave = False
        for step in range(self.num_steps + 1):
            is_last = step == self.num_steps
            current = found[moving].requires_grad_(not (is_last or most_will_leave))
            output = model(current).float()
            if logits is None:
                logits = output.detach().clone()
            else:
                logits[moving] = output.detach()
            if step > 0 and self.third_class == 'avoid':
                going_on = ~in_target_class(output.detach(), base[moving], target[moving])
            else:
                going_on = in_base_class(output.detach(), base[moving])
            if is_last or not going_on.any():
                break
            if most_will_leave:
                # those few that have not left after all: only they pay for a gradient
                moving = moving[going_on]
                going_on = torch.ones_like(moving, dtype=torch.bool)
                current = found[moving].requires_grad_()
                output = model(current).float()
            margins = attack_margin(output, base[moving], target[moving], self.third_class)
            (gradient,) = torch.autograd.grad(margins[going_on].sum(), current)
            moving, margins, gradient = moving[going_on], margins[going_on], gradient[going_on]
            margins = margins.detach()
            change = take_step(margins, gradient, self.step_size, self.overshoot)
            found[moving] = project(found[moving] + change, bounds)
            steps[moving] += 1
            expected = margins + (gradient * change).flatten(1).sum(dim=1)
            most_will_leave = not remembers and bool((expected < 0).float().mean() > 0.5)
        assert logits is not None
        return found, logits, steps
