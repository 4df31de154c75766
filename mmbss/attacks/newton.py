"""The boundary supporting sample attack with damped Newton steps."""

from mmbss.attacks.bss import BSSAttack
from mmbss.attacks.functional import newton_step
from mmbss.registry import ATTACKS


@ATTACKS.register_module()
class NewtonAttack(BSSAttack):
    r"""Walks each sample down its margin by Newton steps, which end near the boundary.

    A step is ``x <- x - eta (L + eps) grad L / ||grad L||_2^2``, with the norm squared as in
    DeepFool (Moosavi-Dezfooli et al., arXiv 1511.04599): on the linearised margin it ends at
    ``(1 - eta) L - eta eps`` whatever the slope, where the published step ends the farther behind
    the boundary the steeper the margin. The rest is as in :class:`BSSAttack`. The defaults damp the
    step: the boundary is approached from inside and crossed by no more than a little.

    Args:
        num_steps: Most gradients evaluated for a sample.
        step_size: Share of the way to the linearised boundary that a step takes (eta).
        overshoot: How far beyond the boundary a step aims (eps), in units of the logits.
        third_class: See :class:`BSSAttack`.

    Raises:
        ConfigError: If a parameter is out of its range.

    Examples:
        >>> import torch
        >>> attack = NewtonAttack(step_size=1.0, overshoot=0.0002)
        >>> base, target = torch.tensor([0]), torch.tensor([1])
        >>> result = attack(torch.clone, torch.tensor([[2.0, 1.0]]), base, target)
        >>> result.success, result.samples
        (tensor([True]), tensor([[1.4999, 1.5001]]))
    """

    take_step = staticmethod(newton_step)

    def __init__(
        self,
        num_steps: int = 10,
        step_size: float = 0.85,
        overshoot: float = 0.05,
        third_class: str = 'reject',
    ) -> None:
        super().__init__(num_steps, step_size, overshoot, third_class)
