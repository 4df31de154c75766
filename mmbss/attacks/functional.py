"""Pure tensor functions of the boundary attack.

Shapes: ``logits`` is (N, K); ``base`` and ``target`` hold N class indices (int64); ``samples``
and ``gradient`` are (N, ...). Everything is computed in float32.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mmbss.engine.errors import ConfigError

#: A model: maps (N, ...) inputs to (N, K) logits, each row independent of the others.
ToLogits = Callable[[Tensor], Tensor]
#: So many times the width of its bounds outside of them, a sample is in other units.
FAR = 10
#: And so many times the width of the widest ones.
ROUNDING = 0.001
#: Lowest and highest value of an input, each broadcastable against one sample.
Bounds = tuple[Tensor, Tensor] | tuple[float, float]


def margin(logits: Tensor, base: Tensor, target: Tensor) -> Tensor:
    """How far the base class leads: ``f_b - f_k``, the attack loss of Heo et al., section 3.1.

    Zero on the boundary between the two classes, positive inside the base class.

    Args:
        logits: (N, K), any floating dtype.
        base: (N,) base classes b.
        target: (N,) target classes k.

    Returns:
        (N,) float32.

    Examples:
        >>> import torch
        >>> margin(torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([0]), torch.tensor([1]))
        tensor([2.])
    """
    logits = logits.float()
    pair = logits.gather(1, torch.stack([base, target], dim=1))
    return pair[:, 0] - pair[:, 1]


def without_classes(logits: Tensor, *classes: Tensor) -> Tensor:
    """Logits that rule out some classes of each row.

    Args:
        logits: (N, K), any floating dtype.
        *classes: One or more (N,) tensors of classes to leave out.

    Returns:
        (N, K) float32, ``-inf`` at these classes.
    """
    return logits.float().scatter(1, torch.stack(classes, dim=1), -torch.inf)


def highest_other_logit(logits: Tensor, *classes: Tensor) -> Tensor:
    """Highest logit of each row among all but the given classes, see :func:`without_classes`.

    Returns:
        (N,) float32, ``-inf`` where no class is left.
    """
    return without_classes(logits, *classes).amax(dim=1)


def class_lead(logits: Tensor, classes: Tensor) -> Tensor:
    """Lead of the given class of each row over the best other class: (N,) float32."""
    own = logits.float().gather(1, classes.unsqueeze(1)).squeeze(1)
    return own - highest_other_logit(logits, classes)


def has_softmax(logits: Tensor) -> Tensor:
    """Whether probabilities follow from logits: (N,) bool.

    Not from NaN or infinity; a class may be ruled out by ``-inf``, but not all of them.
    """
    return logits.amax(dim=1).isfinite()


@torch.no_grad()
def in_base_class(logits: Tensor, base: Tensor) -> Tensor:
    """Whether no class beats the base class: (N,) bool."""
    return class_lead(logits, base) >= 0


@torch.no_grad()
def in_target_class(logits: Tensor, base: Tensor, target: Tensor) -> Tensor:
    """Whether the target class beats the base class and no third class beats both: (N,) bool."""
    ahead = margin(logits, base, target) < 0
    of_target = logits.float().gather(1, target.unsqueeze(1)).squeeze(1)
    return ahead & (of_target >= highest_other_logit(logits, base, target))


def published_step(margins: Tensor, gradient: Tensor, step_size: float, overshoot: float) -> Tensor:
    """One step of Heo et al., equation 4: ``-eta (L + eps) g / ||g||_2``.

    The length of the step is proportional to the margin, whatever the slope: where the margin is
    steep it overshoots the boundary, where it is flat it falls short.

    Args:
        margins: (N,) margins L.
        gradient: (N, ...) gradient g of each margin with respect to its sample.
        step_size: eta.
        overshoot: eps, in units of the margin.

    Returns:
        (N, ...) float32 perturbation; zero where the gradient vanishes.
    """
    norm = gradient.float().flatten(1).norm(dim=1)
    return _along(gradient, -step_size * (margins + overshoot), norm)


def newton_step(margins: Tensor, gradient: Tensor, step_size: float, overshoot: float) -> Tensor:
    """One Newton step to the zero of the margin: ``-eta (L + eps) g / ||g||_2^2``.

    The squared norm makes the step end where the linearised margin is ``(1 - eta) L - eta eps``,
    as in DeepFool (arXiv 1511.04599). Arguments and result as for :func:`published_step`.
    """
    norm = gradient.float().flatten(1).norm(dim=1)
    return _along(gradient, -step_size * (margins + overshoot), norm.square())


def pull_to_base(displacement: Tensor, gradient: Tensor, share: float) -> Tensor:
    """Shorten a displacement without moving its end off the linearised boundary.

    Takes back a share of the component at right angles to the gradient. At 1 only the component
    along the gradient is left: the projection of the base sample onto the linearised boundary,
    as in FAB (arXiv 1907.02044).

    Args:
        displacement: (N, ...) from the base sample to a point of the linearised boundary.
        gradient: (N, ...) gradient of the margin, normal to that boundary.
        share: Share in [0, 1] that is taken back.

    Returns:
        (N, ...) float32; where the gradient vanishes, the whole displacement is at right angles.
    """
    gradient = gradient.float()
    products = (displacement * gradient).flatten(1).sum(dim=1)
    straight = _along(gradient, products, gradient.flatten(1).square().sum(dim=1))
    return displacement - share * (displacement - straight)


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """View N values as (N, 1, ...), to be broadcast against ``like``, which is (N, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _along(gradient: Tensor, factor: Tensor, divisor: Tensor) -> Tensor:
    """``factor / divisor * gradient`` for each sample; 0 where the divisor is 0 or not finite."""
    vanishes = (divisor == 0) | ~divisor.isfinite()
    scale = factor / divisor.masked_fill(vanishes, 1.0)
    # a finite scale keeps 0 where the gradient is 0; with a tiny divisor it would be infinite
    largest = torch.finfo(scale.dtype).max
    scale = scale.masked_fill(vanishes, 0.0).clamp(-largest, largest)
    gradient = gradient.float()
    moved = per_sample(scale, gradient) * gradient
    return torch.where(per_sample(vanishes, gradient), 0.0, moved)  # 0 times NaN is NaN


def project(samples: Tensor, bounds: Bounds | None) -> Tensor:
    """Clamp samples to the values that an image can take; unbounded if ``bounds`` is None."""
    return samples if bounds is None else samples.clamp(*ends(bounds, samples, ''))


def ends(bounds: Bounds | None, like: Tensor, needed_for: str) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of an input, each broadcastable against one sample.

    Args:
        bounds: The same as tensors of any kind, or as numbers.
        like: (N, ...) samples, for dtype and device.
        needed_for: What to say where there are none.

    Raises:
        ConfigError: If ``bounds`` is None, are not two, or do not go with one sample.
    """
    if bounds is None:
        raise ConfigError(f'{needed_for}: give bounds, the lowest and highest value of an input')
    if len(bounds) != 2:
        raise ConfigError(f'bounds must be (lowest, highest), got {len(bounds)} values')
    lowest, highest = (_of_one_sample(torch.as_tensor(bound).to(like), like) for bound in bounds)
    return lowest, highest


def _of_one_sample(bound: Tensor, like: Tensor) -> Tensor:
    if bound.ndim == like.ndim and len(bound) == 1:  # as a batch of one
        bound = bound[0]
    try:
        fits = torch.broadcast_shapes(bound.shape, like.shape[1:]) == like.shape[1:]
    except RuntimeError:
        fits = False
    if not fits:
        raise ConfigError(
            f'bounds of shape {tuple(bound.shape)} do not go with samples of '
            f'{tuple(like.shape[1:])}: give numbers, or one value a channel as (C, 1, 1)'
        )
    return bound


def check_bounds(lowest: Tensor, highest: Tensor, samples: Tensor) -> None:
    """Refuse bounds that are no bounds of these samples, which would be clamped to anything.

    A sample may lie outside: by rounding, or of bounds that are tighter than the pixels.

    Args:
        lowest: Lowest value of an input, see :func:`ends`.
        highest: Highest value.
        samples: (N, ...).

    Raises:
        ConfigError: If the lowest is above the highest, or nowhere below it, or a sample lies so
            far outside that the two are in different units, such as pixels and shares of them.
    """
    if not samples.numel():
        return
    # of no width where an attack is to leave an input alone, which rounding may move all the same
    width = highest - lowest
    outside = torch.maximum(lowest - samples, samples - highest)
    far = outside > FAR * width + ROUNDING * width.max()
    if (width >= 0).all() & (width.max() > 0) & ~far.any():
        return
    raise ConfigError(
        f'bounds of {lowest.min():.3g} to {highest.max():.3g} do not go with samples of '
        f'{samples.min():.3g} to {samples.max():.3g}: give (lowest, highest) in their units'
    )


def pixel_size(bounds: Bounds | None, like: Tensor) -> Tensor:
    """One pixel of [0, 255] in units of the samples, whose bounds are pixels 0 and 255.

    Args:
        bounds: Lowest and highest value of an input.
        like: (N, ...) samples, for dtype and device.

    Returns:
        A tensor that is broadcastable against one sample, as the bounds are.

    Raises:
        ConfigError: If ``bounds`` is None.

    Examples:
        >>> import torch
        >>> pixel_size((torch.tensor([-2.0]), torch.tensor([3.1])), torch.zeros(1, 1))
        tensor([0.0200])
    """
    lowest, highest = ends(bounds, like, 'the attack is measured in pixels of the bounds')
    return (highest - lowest) / 255
