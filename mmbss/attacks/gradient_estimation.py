"""A black-box attack that estimates gradients from the model's logits."""

import torch
from torch import Tensor

from mmbss.attacks.functional import Bounds, ToLogits, per_sample, pixel_size, project
from mmbss.attacks.gradient_sign import PGDAttack
from mmbss.engine.ranges import check_at_least, check_positive
from mmbss.registry import ATTACKS


@ATTACKS.register_module()
class GradientEstimationAttack(PGDAttack):
    """:class:`PGDAttack` for a model that gives its logits, but no gradient.

    The gradient is estimated by symmetric differences, as in ZOO (Chen et al., arXiv
    1708.03999), along random directions, as in AutoZOOM (Tu et al., arXiv 1805.11770):
    ``mean over u of (f(x + h u) - f(x - h u)) / (2 h) u``, where every value of u is -1 or 1.
    It takes ``num_steps (2 num_directions + 1) + 1`` queries a sample, and goes the better the
    fewer values a sample has.

    ZOO and AutoZOOM themselves look for the smallest perturbation; this attack keeps within a
    radius, so that its success is to be compared with that of PGD.

    Args:
        radius: Largest change of a value (epsilon), in pixels.
        step_size: Change of each value in a step, in pixels.
        num_steps: How many gradients are estimated for a sample.
        num_directions: How many directions are tried for an estimate.
        probe: Change of each value in a query (h), in pixels.
        targeted: See :class:`PGDAttack`.

    Raises:
        ConfigError: If a parameter is out of its range; on a call without bounds.

    Examples:
        >>> import torch
        >>> base, target = torch.tensor([0]), torch.tensor([1])
        >>> samples, bounds = torch.tensor([[0.6, 0.4]]), (0.0, 1.0)
        >>> attack = GradientEstimationAttack(radius=51, step_size=34, num_steps=2)
        >>> result = attack(torch.clone, samples, base, target, bounds)
        >>> result.samples, result.success
        (tensor([[0.4000, 0.6000]]), tensor([True]))
    """

    needs_gradient = False

    def __init__(
        self,
        radius: float = 8.0,
        step_size: float = 2.0,
        num_steps: int = 20,
        num_directions: int = 50,
        probe: float = 1.0,
        targeted: bool = True,
    ) -> None:
        super().__init__(radius, step_size, num_steps, targeted=targeted)
        check_at_least(self, 1, num_directions=num_directions)
        check_positive(self, probe=probe)
        self.num_directions = num_directions
        self.probe = probe

    @torch.no_grad()
    def gradient(
        self, model: ToLogits, samples: Tensor, base: Tensor, target: Tensor, bounds: Bounds | None
    ) -> tuple[Tensor, Tensor]:
        """Estimate of the gradient with respect to the pixels, and the logits at the samples."""
        pixel = pixel_size(bounds, samples)
        gradient = torch.zeros_like(samples)
        for _ in range(self.num_directions):
            direction = torch.randint_like(samples, 2) * 2 - 1
            ahead, behind = (
                self.objective(model(project(samples + probe * pixel, bounds)), base, target)
                for probe in (self.probe * direction, -self.probe * direction)
            )
            gradient += per_sample(ahead - behind, direction) * direction
        gradient /= 2 * self.probe * self.num_directions
        return gradient, model(samples).float()
