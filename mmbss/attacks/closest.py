"""The attack that ends closest to the decision boundary and to the base sample."""

import torch
from torch import Tensor

from mmbss.attacks.bss import BSSAttack
from mmbss.attacks.functional import (
    Bounds,
    ToLogits,
    class_lead,
    in_base_class,
    margin,
    newton_step,
    per_sample,
    project,
    pull_to_base,
)
from mmbss.attacks.moving import MovingSamples
from mmbss.attacks.root_search import secant_search
from mmbss.engine.ranges import check_at_least, check_positive
from mmbss.registry import ATTACKS

#: A sample is near the boundary once its margin has shrunk to this share of the first one.
NEAR = 0.2
#: How many pulled steps a sample makes there, and the share of the detour that each takes back.
NUM_PULLED_STEPS = 2
PULL = 0.5
#: A pulled sample falls short, for margins flatten on the way; so it goes this much farther.
STRETCH = 1.1


@ATTACKS.register_module()
class ClosestAttack(BSSAttack):
    r"""Finds a point just beyond the boundary, closer to the base sample than a walk ends.

    First Newton steps, see :class:`~mmbss.attacks.NewtonAttack`, lead near the boundary. There the
    path, which bends with the gradient, is a detour: each of the next steps goes on to the
    linearised boundary and halfway from there to the point of it that is closest to the base
    sample (the projection of FAB, Croce and Hein, arXiv 1907.02044, which on its own jumps to and
    fro). Last, a search without gradients along the ray from the base sample ends where the class
    that loses does so by at most ``3 * overshoot``, or where its forward passes are used up. This
    costs two to three times as much as the published step.

    A sample that does not start in its base class, or never leaves it, is returned as it was and
    rejected.

    Args:
        num_steps: Most gradients evaluated for a sample.
        step_size: Share of the way to the linearised boundary that a Newton step takes, above 1
            because margins flatten on the way.
        overshoot: How far beyond the boundary to aim, in units of the logits; positive.
        num_refinements: Most forward passes of the search for a sample.
        third_class: See :class:`BSSAttack`.

    Raises:
        ConfigError: If a parameter is out of its range.

    Examples:
        >>> import torch
        >>> base, target = torch.tensor([0]), torch.tensor([1])
        >>> result = ClosestAttack()(torch.clone, torch.tensor([[2.0, 1.0]]), base, target)
        >>> result.success, result.samples.round(decimals=2)
        (tensor([True]), tensor([[1.4900, 1.5100]]))
    """

    def __init__(
        self,
        num_steps: int = 10,
        step_size: float = 1.3,
        overshoot: float = 0.015,
        num_refinements: int = 8,
        third_class: str = 'reject',
    ) -> None:
        super().__init__(num_steps, step_size, overshoot, third_class)
        check_positive(self, overshoot=overshoot)
        check_at_least(self, 1, num_refinements=num_refinements)
        self.num_refinements = num_refinements

    def walk(
        self, model: ToLogits, samples: Tensor, base: Tensor, target: Tensor, bounds: Bounds | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Walk near the boundary, then search along the ray; see :meth:`BSSAttack.walk`."""
        moving = MovingSamples(model, samples)
        crossings, target = Crossings(samples, moving.logits), target.clone()
        near_margins = NEAR * margin(moving.logits, base, target)
        pulled_steps = torch.zeros_like(base)
        slopes = torch.zeros_like(near_margins)
        moving.keep(in_base_class(moving.output, base))
        for step in range(self.num_steps):
            if not len(moving.rows):
                break
            if step > 0:
                moving.evaluate()
            rows, logits = moving.rows, moving.output.detach()
            leads = class_lead(logits, base[rows])
            crossings.offer(rows, moving.points, logits, leads)
            if self.third_class == 'accept':
                target[rows] = torch.where(leads < 0, logits.argmax(dim=1), target[rows])
            margins = margin(moving.output, base[rows], target[rows])
            gradient, margins = moving.gradient(margins), margins.detach()

            near = (leads < 0) | (margins <= near_margins[rows])
            share = per_sample(torch.where(near, 1.0, self.step_size), gradient)
            change = share * newton_step(margins, gradient, 1.0, self.overshoot)
            straight = moving.points + change - samples[rows]
            pulled = STRETCH * pull_to_base(straight, gradient, PULL)
            displacement = torch.where(per_sample(near, gradient), pulled, straight)
            moving.move(project(samples[rows] + displacement, bounds))
            slopes[rows] = (gradient * displacement).flatten(1).sum(dim=1)
            pulled_steps[rows] += near.long()
            moving.keep(pulled_steps[rows] < NUM_PULLED_STEPS)

        rays = (moving.steps > 0).nonzero().squeeze(1)

        @torch.no_grad()
        def lead_along_ray(indices: Tensor, lengths: Tensor) -> Tensor:
            rows = rays[indices]
            displacement = moving.samples[rows] - samples[rows]
            points = samples[rows] + per_sample(lengths, displacement) * displacement
            points = project(points, bounds)
            logits = model(points).float()
            leads = class_lead(logits, base[rows])
            crossings.offer(rows, points, logits, leads)
            return leads

        secant_search(lead_along_ray, slopes[rays], self.num_refinements, self.overshoot)
        return crossings.samples, crossings.logits, moving.steps


class Crossings:
    """The point just beyond the boundary that each sample has found so far.

    Args:
        samples: (N, ...) float32 base samples.
        logits: (N, K) float32 on ``samples``.

    Attributes:
        samples: (N, ...) float32, the points; base samples where none has been found.
        logits: (N, K) float32, the model's output on them.
        leads: (N,) float32, negative distances from the boundary in units of the logits;
            ``-inf`` where no point has been found.
    """

    def __init__(self, samples: Tensor, logits: Tensor) -> None:
        self.samples = samples.clone()
        self.logits = logits.clone()
        self.leads = torch.full_like(logits[:, 0], -torch.inf)

    def offer(self, rows: Tensor, points: Tensor, logits: Tensor, leads: Tensor) -> None:
        """Keep those points that are beyond the boundary and closer to it than the ones before.

        Args:
            rows: (M,) int64, which samples the points belong to.
            points: (M, ...) float32.
            logits: (M, K) float32 on ``points``.
            leads: (M,) float32, negative beyond the boundary.
        """
        closer = (leads < 0) & (leads > self.leads[rows])
        kept = rows[closer]
        self.samples[kept] = points[closer]
        self.logits[kept] = logits[closer]
        self.leads[kept] = leads[closer]
