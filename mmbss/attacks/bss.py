"""The boundary supporting sample attack of Heo et al. (AAAI 2019, arXiv 1805.05532)."""

from torch import Tensor

from mmbss.attacks.base import Attack, AttackResult, accept
from mmbss.attacks.functional import (
    Bounds,
    ToLogits,
    in_base_class,
    margin,
    project,
    published_step,
)
from mmbss.attacks.moving import MovingSamples
from mmbss.engine.ranges import check_at_least, check_choice, check_positive
from mmbss.registry import ATTACKS

THIRD_CLASS = ('reject', 'accept')


@ATTACKS.register_module()
class BSSAttack(Attack):
    r"""Walks each sample down its margin until it has just left the base class.

    With the margin ``L = f_b - f_k`` of base class b over target class k, in units of the logits,
    a step is ``x <- x - eta (L + eps) grad L / ||grad L||_2`` (equation 4 of the paper), followed
    by a projection into the bounds. With the defaults, which are the published settings, a sample
    stops as soon as (a) the target class beats the base class: it is accepted; (b) a third class
    beats both, or (c) ``num_steps`` gradients are used up: it is rejected. Where (a) and (b) fall
    together the third class has won, and the sample is rejected. A sample that does not start in
    its base class does not move and is rejected.

    Only samples that still move are in the batch, only the gradient of the input is computed,
    and the returned logits are those of the forward pass that found the sample.

    Args:
        num_steps: Most gradients evaluated for a sample (I_max).
        step_size: Share of the margin that a step takes (eta).
        overshoot: Added to the margin so that samples cross the boundary instead of creeping
            up to it (eps), in units of the logits.
        third_class: What becomes of a sample that a third class wins. ``'reject'``, as in the
            paper; ``'accept'`` takes that class as the target, so that the sample lies on a
            boundary of its base class all the same.

    Raises:
        ConfigError: If a parameter is out of its range.

    Examples:
        >>> import torch
        >>> attack = BSSAttack(step_size=1.0)
        >>> base, target = torch.tensor([0]), torch.tensor([1])
        >>> result = attack(torch.clone, torch.tensor([[2.0, 1.0]]), base, target)
        >>> result.success, result.samples.round(decimals=2)
        (tensor([True]), tensor([[1.2900, 1.7100]]))
    """

    #: Perturbations from margins, gradients, step size and overshoot.
    take_step = staticmethod(published_step)

    def __init__(
        self,
        num_steps: int = 10,
        step_size: float = 0.3,
        overshoot: float = 1e-4,
        third_class: str = 'reject',
    ) -> None:
        check_at_least(self, 1, num_steps=num_steps)
        check_positive(self, step_size=step_size)
        check_at_least(self, 0, overshoot=overshoot)
        check_choice(self, THIRD_CLASS, third_class=third_class)
        self.num_steps = num_steps
        self.step_size = step_size
        self.overshoot = overshoot
        self.third_class = third_class

    def run(
        self, model: ToLogits, samples: Tensor, base: Tensor, target: Tensor, bounds: Bounds | None
    ) -> AttackResult:
        """See :meth:`Attack.__call__`."""
        found, logits, steps = self.walk(model, samples, base, target, bounds)
        targeted = self.third_class != 'accept'
        return accept(found, logits, base, target, steps, attacked=steps > 0, targeted=targeted)

    def walk(
        self, model: ToLogits, samples: Tensor, base: Tensor, target: Tensor, bounds: Bounds | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Step until each sample leaves its base class.

        Returns:
            Where the samples end (N, ...), the logits there (N, K), both float32, and the
            gradients evaluated for each (N,), int64: 0 for one that starts outside its base class.
        """
        moving = MovingSamples(model, samples)
        moving.keep(in_base_class(moving.output, base))
        for steps_left in reversed(range(self.num_steps)):
            rows = moving.rows
            if not len(rows):
                break
            margins = margin(moving.output, base[rows], target[rows])
            gradient, margins = moving.gradient(margins), margins.detach()
            change = self.take_step(margins, gradient, self.step_size, self.overshoot)
            moving.move(project(moving.points + change, bounds))
            # where most are to leave, only the few others pay for a graph, in a pass of their own
            expected = margins + (gradient * change).flatten(1).sum(dim=1)
            most_will_leave = bool((expected < 0).float().mean() > 0.5)
            moving.evaluate(with_graph=steps_left > 0 and not most_will_leave)
            moving.keep(in_base_class(moving.output, base[rows]))
            if steps_left > 0 and most_will_leave and len(moving.rows):
                moving.evaluate()
        return moving.samples, moving.logits, moving.steps
