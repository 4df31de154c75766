"""Walk to a point of the decision boundary close to the base sample."""

from collections.abc import Callable

import torch
from torch import Tensor

from mmbss.attacks.functional import (
    Bounds,
    attack_margin,
    class_lead,
    in_base_class,
    newton_step,
    per_sample,
    project,
    pull_to_base,
)
from mmbss.attacks.root_search import secant_search

#: A sample is near the boundary once its margin has shrunk to this share of the first one.
NEAR = 0.2
#: How many pulled steps a sample makes there, and the share of the detour that each takes back.
NUM_PULLED_STEPS = 2
PULL = 0.5
#: A pulled sample falls short, for margins flatten on the way; so it goes this much farther.
STRETCH = 1.1


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


def walk_to_closest(
    model: Callable[[Tensor], Tensor],
    samples: Tensor,
    base: Tensor,
    target: Tensor,
    bounds: Bounds | None,
    *,
    num_steps: int,
    step_size: float,
    overshoot: float,
    num_refinements: int,
    third_class: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find a point just beyond the boundary, closer to the base sample than a plain walk ends.

    First Newton steps lead near the boundary. There the path, which bends with the gradient, is
    a detour: each of the next steps goes on to the linearised boundary and halfway from there
    to the point of it that is closest to the base sample (the projection of FAB, arXiv
    1907.02044, which on its own jumps to and fro). Last, a search without gradients along the
    ray from the base sample ends where the class that loses does so by at most
    ``3 * overshoot``, or where its forward passes are used up.

    Args:
        model: Maps (N, ...) inputs to (N, K) logits.
        samples: (N, ...) float32 base samples.
        base: (N,) int64 base classes.
        target: (N,) int64 target classes.
        bounds: Lowest and highest value of an input, or None.
        num_steps: Most gradients evaluated for a sample.
        step_size: Share of the way to the linearised boundary that a Newton step takes.
        overshoot: How far beyond the boundary to aim, in units of the logits.
        num_refinements: Most forward passes of the search for a sample.
        third_class: See :class:`~mmbss.attacks.BSSAttack`.

    Returns:
        The points (N, ...) and the model's logits on them (N, K), float32, and the gradients
        evaluated for each (N,), int64. A sample that does not start in its base class, or never
        leaves it, is returned as it was.
    """
    positions, target = samples.clone(), target.clone()
    steps, pulled_steps = torch.zeros_like(base), torch.zeros_like(base)
    slopes, near_margins = torch.zeros(2, *base.shape, device=samples.device)
    walking = torch.arange(len(samples), device=samples.device)
    crossings: Crossings | None = None

    def lead(logits: Tensor, rows: Tensor) -> Tensor:
        if third_class == 'avoid':
            return -class_lead(logits, target[rows])
        return class_lead(logits, base[rows])

    for _ in range(num_steps):
        current = positions[walking].requires_grad_()
        output = model(current).float()
        logits, points = output.detach(), current.detach()
        leads = lead(logits, walking)
        if crossings is None:
            crossings = Crossings(samples, logits)
            going_on = in_base_class(logits, base)
            near_margins = NEAR * attack_margin(logits, base, target, third_class)
        else:
            crossings.offer(walking, points, logits, leads)
            going_on = torch.ones_like(leads, dtype=torch.bool)
            if third_class == 'accept':
                target[walking] = torch.where(leads < 0, logits.argmax(dim=1), target[walking])
        margins = attack_margin(output, base[walking], target[walking], third_class)
        (gradient,) = torch.autograd.grad(margins.sum(), current)

        walking, leads, points = walking[going_on], leads[going_on], points[going_on]
        margins, gradient = margins.detach()[going_on], gradient[going_on]
        near = (leads < 0) | (margins <= near_margins[walking])
        share = per_sample(torch.where(near, 1.0, step_size), gradient)
        change = share * newton_step(margins, gradient, 1.0, overshoot)
        straight = points + change - samples[walking]
        pulled = STRETCH * pull_to_base(straight, gradient, PULL)
        displacement = torch.where(per_sample(near, gradient), pulled, straight)
        positions[walking] = project(samples[walking] + displacement, bounds)
        steps[walking] += 1
        pulled_steps[walking] += near.long()
        slopes[walking] = (gradient * displacement).flatten(1).sum(dim=1)
        walking = walking[pulled_steps[walking] < NUM_PULLED_STEPS]
        if len(walking) == 0:
            break
    assert crossings is not None

    rays = (steps > 0).nonzero().squeeze(1)

    @torch.no_grad()
    def lead_along_ray(indices: Tensor, lengths: Tensor) -> Tensor:
        rows = rays[indices]
        displacement = positions[rows] - samples[rows]
        points = project(samples[rows] + per_sample(lengths, displacement) * displacement, bounds)
        logits = model(points).float()
        leads = lead(logits, rows)
        crossings.offer(rows, points, logits, leads)
        return leads

    secant_search(lead_along_ray, slopes[rays], num_refinements, overshoot)
    return crossings.samples, crossings.logits, steps
