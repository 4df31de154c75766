"""Random noise in the place of an attack, with which Heo et al. (AAAI 2019) compare theirs."""

from typing import Any

import torch
from torch import Tensor

from mmbss.attacks.base import Attack, AttackResult, Partners, accept
from mmbss.attacks.functional import Bounds, ToLogits, per_sample, project
from mmbss.engine.build import build_checked
from mmbss.registry import ATTACKS


@ATTACKS.register_module()
class RandomNoiseAttack(Attack):
    """Moves each sample as far as another attack would, in a random direction.

    What a student learns from the other attack's samples and not from these is due to the
    boundary, not to the size of the perturbation. The direction is uniform on the sphere, and
    the length in L2 is that of the other attack; where the noise leaves the bounds it is cut
    off, which shortens it. A sample that the other attack does not move stays.

    Args:
        attack: Config of the other attack, such as ``dict(type='mmbss.BSSAttack')``.

    Raises:
        ConfigError: If ``attack`` is no config of an attack.

    Examples:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False).eval()
        >>> model.weight.data = torch.eye(2)
        >>> attack = RandomNoiseAttack(dict(type='NewtonAttack', step_size=1.0, overshoot=0.0001))
        >>> samples, base, target = torch.tensor([[2.0, 1.0]]), torch.tensor([0]), torch.tensor([1])
        >>> (attack(model, samples, base, target).samples - samples).norm().round(decimals=3)
        tensor(0.7070)
    """

    def __init__(self, attack: dict[str, Any]) -> None:
        self.attack: Attack = build_checked(ATTACKS, attack, 'RandomNoiseAttack.attack')
        self.in_pixels = self.attack.in_pixels
        self.needs_partners = self.attack.needs_partners
        self.needs_student = self.attack.needs_student
        self.needs_gradient = self.attack.needs_gradient

    def run(
        self,
        model: ToLogits,
        samples: Tensor,
        base: Tensor,
        target: Tensor,
        bounds: Bounds | None,
        partners: Partners | None = None,
    ) -> AttackResult:
        """See :meth:`Attack.__call__`."""
        further = {} if partners is None else dict(partners=partners)
        other = self.attack.run(model, samples, base, target, bounds, **further)
        lengths = (other.samples - samples).flatten(1).norm(dim=1)
        found = project(samples + random_perturbation(samples, lengths), bounds)
        with torch.no_grad():
            logits = model(found).float()
        attacked = lengths > 0
        return accept(found, logits, base, target, other.steps, attacked=attacked, targeted=True)


def random_perturbation(samples: Tensor, lengths: Tensor) -> Tensor:
    """Perturbations of the given L2 lengths in directions uniform on the sphere.

    Args:
        samples: (N, ...) float32, for the shape.
        lengths: (N,) float32.

    Returns:
        (N, ...) float32.
    """
    noise = torch.randn_like(samples)
    norms = noise.flatten(1).norm(dim=1)
    return per_sample(lengths / norms, noise) * noise
