"""Attacks along the sign of the gradient: FGSM, BIM and PGD."""

import torch
from torch import Tensor

from mmbss.attacks.base import Attack, AttackResult, accept
from mmbss.attacks.functional import (
    Bounds,
    ToLogits,
    in_base_class,
    per_sample,
    pixel_size,
    project,
    without_classes,
)
from mmbss.engine.ranges import check_at_least, check_positive
from mmbss.registry import ATTACKS


@ATTACKS.register_module()
class PGDAttack(Attack):
    """Steps of fixed size along the sign of the gradient, in a box around each sample.

    Projected gradient descent (Madry et al., arXiv 1706.06083) in the L-infinity norm; without
    the random start it is the basic iterative method, BIM (Kurakin et al., arXiv 1607.02533).
    A step is ``x <- clip(x + alpha sign(grad J))``, where J is :meth:`objective` and the clip is to
    the box and to the bounds. A sample that does not start in its base class does not move and is
    rejected.

    Lengths are in pixels of [0, 255], which are read off the bounds: these are to be pixels 0
    and 255 in the units of the samples, and may differ between the channels.

    Args:
        radius: Largest change of a value (epsilon), in pixels.
        step_size: Change of each value in a step (alpha), in pixels.
        num_steps: How many gradients are evaluated for a sample.
        random_start: Whether to start from a point drawn uniformly from the box.
        targeted: Whether to descend the cross-entropy with the target class, as a replacement
            of :class:`~mmbss.attacks.BSSAttack` has to, or to ascend that with the base class;
            ``target`` of the result is then the class reached.

    Raises:
        ConfigError: If a parameter is out of its range; on a call without bounds.

    Examples:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False).eval()
        >>> model.weight.data = torch.eye(2)
        >>> attack = PGDAttack(radius=51, step_size=34, num_steps=2)
        >>> base, target = torch.tensor([0]), torch.tensor([1])
        >>> result = attack(model, torch.tensor([[0.6, 0.4]]), base, target, bounds=(0.0, 1.0))
        >>> result.samples, result.success
        (tensor([[0.4000, 0.6000]]), tensor([True]))
    """

    in_pixels = True

    def __init__(
        self,
        radius: float = 8.0,
        step_size: float = 2.0,
        num_steps: int = 10,
        random_start: bool = False,
        targeted: bool = True,
    ) -> None:
        check_positive(self, radius=radius, step_size=step_size)
        check_at_least(self, 1, num_steps=num_steps)
        self.radius = radius
        self.step_size = step_size
        self.num_steps = num_steps
        self.random_start = random_start
        self.targeted = targeted

    def run(
        self, model: ToLogits, samples: Tensor, base: Tensor, target: Tensor, bounds: Bounds | None
    ) -> AttackResult:
        """See :meth:`Attack.__call__`."""
        pixel = pixel_size(bounds, samples)
        box = (samples - self.radius * pixel, samples + self.radius * pixel)
        found, starts_in_base = samples, torch.ones_like(base, dtype=torch.bool)
        if self.random_start:
            noise = 2 * torch.rand_like(samples) - 1
            found = project(samples + self.radius * pixel * noise, bounds)
            with torch.no_grad():
                starts_in_base = in_base_class(model(samples), base)
        for step in range(self.num_steps):
            current = found.detach().requires_grad_()
            logits = model(current).float()
            if step == 0 and not self.random_start:
                starts_in_base = in_base_class(logits, base)
            odds = log_odds(logits, target) if self.targeted else -log_odds(logits, base)
            (gradient,) = torch.autograd.grad(odds.sum(), current)
            stepped = found + self.step_size * pixel * gradient.sign()
            found = project(stepped.clamp(*box), bounds)
        with torch.no_grad():
            found = torch.where(per_sample(starts_in_base, found), found, samples)
            logits = model(found).float()
        return accept(
            found,
            logits,
            base,
            target,
            self.num_steps * starts_in_base.long(),
            attacked=starts_in_base,
            targeted=self.targeted,
        )


@ATTACKS.register_module()
class FGSMAttack(PGDAttack):
    """One step along the sign of the gradient to the surface of the box around each sample.

    The fast gradient sign method (Goodfellow et al., arXiv 1412.6572); targeted, the one-step
    target class method of Kurakin et al. (arXiv 1607.02533). See :class:`PGDAttack`.

    Args:
        radius: Change of each value (epsilon), in pixels of [0, 255].
        targeted: Whether to go toward the target class, or away from the base class.

    Raises:
        ConfigError: If ``radius`` is not positive; on a call without bounds.

    Examples:
        >>> import torch
        >>> base, target = torch.tensor([0]), torch.tensor([1])
        >>> samples, bounds = torch.tensor([[0.6, 0.4]]), (0.0, 1.0)
        >>> FGSMAttack(radius=51)(torch.clone, samples, base, target, bounds).samples
        tensor([[0.4000, 0.6000]])
    """

    def __init__(self, radius: float = 8.0, targeted: bool = True) -> None:
        super().__init__(radius, step_size=radius, num_steps=1, targeted=targeted)


def log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Logarithm of the odds of the given class of each row: ``f_c - logsumexp_{k != c} f_k``.

    Its gradient is parallel to that of the cross-entropy, ``softplus(-log_odds)``, and does not
    vanish where the softmax saturates.

    Args:
        logits: (N, K), any floating dtype.
        classes: (N,) int64.

    Returns:
        (N,) float32.

    Examples:
        >>> import torch
        >>> log_odds(torch.tensor([[3.0, 1.0]]), torch.tensor([0]))
        tensor([2.])
    """
    own = logits.float().gather(1, classes.unsqueeze(1)).squeeze(1)
    return own - without_classes(logits, classes).logsumexp(dim=1)
