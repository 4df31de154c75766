"""Whether images are pixels of [0, 255], as all that measures in pixels takes for granted."""

import torch
from torch import Tensor

from mmbss.engine.errors import ConfigError

#: Lowest and highest value, of all channels or (C, 1, 1) of each.
Ends = tuple[Tensor | float, Tensor | float]

#: How far beyond a bound an image may lie, as a share of the distance between the bounds. Another
#: normalisation rounds a pixel at 0 or 255 to a little beyond it.
ROUNDING = 1e-3
#: The same where nothing is held within the bounds: resizing and noise of colours go beyond them.
OVERSHOOT = 0.1
#: Images that differ by no more than one of 255 steps between the bounds have another unit, unless
#: they are black but for whole numbers; and so have those that are also negative by no more than
#: the second: normalised ones differ by 3 to 5.
ONE_STEP, FEW_STEPS = 1 / 255 + 1e-6, 10 / 255

#: What to do about images of another unit.
CURE = (
    'let the pipeline give pixels of 0 to 255, with mean and std of data_preprocessor in them, and '
    'leave normalising to it'
)


def check_pixels(
    inputs: Tensor,
    bounds: Ends,
    where: str,
    cure: str = CURE,
    allowance: float = OVERSHOOT,
) -> None:
    """Refuse images that are not pixels of [0, 255], such as those of [0, 1] or normalised twice.

    Args:
        inputs: (N, C, H, W), normalised. Those of one colour tell nothing.
        bounds: Pixels 0 and 255, normalised alike; anything that broadcasts.
        where: Path in the config, or what needs pixels.
        cure: What to do.
        allowance: How far beyond the bounds they may lie, as a share of their distance.

    Raises:
        ConfigError: With the pixels.

    Examples:
        >>> pixels = torch.tensor([[[[0.0, 60.0, 255.0]]]])
        >>> check_pixels(pixels, (0.0, 255.0), 'model')
        >>> check_pixels(pixels / 255, (0.0, 255.0), 'model', 'scale them')
        Traceback (most recent call last):
            ...
        mmbss.engine.errors.ConfigError: model: images have pixels from 0 to 1, so that pixels 0 \
to 255 hold next to nothing back: scale them
    """
    if problem := other_unit(inputs, bounds, allowance):
        raise ConfigError(f'{where}: {problem}: {cure}')


def other_unit(inputs: Tensor, bounds: Ends, allowance: float = OVERSHOOT) -> str | None:
    """What shows that images are no pixels of [0, 255], None where nothing does.

    See :func:`check_pixels`.
    """
    least, most = ends_between(inputs, bounds)
    images = f'images have pixels from {255 * least:.4g} to {255 * most:.4g}'
    is_normalised = least < -ROUNDING and most - least <= FEW_STEPS
    if is_normalised or least < -allowance or most > 1 + allowance:
        return f'{images}, beyond pixels 0 to 255'
    if 0 < most - least <= ONE_STEP and (allowance <= ROUNDING or not are_whole(inputs, bounds)):
        return f'{images}, so that pixels 0 to 255 hold next to nothing back'
    return None


def are_whole(inputs: Tensor, bounds: Ends) -> bool:
    """Whether all pixels are whole numbers, as those of black images, or of masks, are."""
    lowest, highest = (torch.as_tensor(bound).to(inputs) for bound in bounds)
    pixels = 255 * (inputs - lowest) / (highest - lowest)
    return bool((pixels - pixels.round()).abs().max() < 255 * ROUNDING / 10)


def ends_between(inputs: Tensor, bounds: Ends) -> tuple[float, float]:
    """Where the least and the largest of some inputs lie between bounds, at 0 and 1."""
    lowest, highest = (
        torch.as_tensor(bound, dtype=torch.float32, device=inputs.device) for bound in bounds
    )
    places = (inputs.float() - lowest) / (highest - lowest)
    return float(places.min()), float(places.max())


def are_of_pixels(bounds: tuple[Tensor, Tensor]) -> bool:
    """Whether a normalisation is one of pixels of [0, 255], by its standard deviation.

    Args:
        bounds: Pixels 0 and 255, normalised.

    Examples:
        >>> def bounds(mean, std):
        ...     return torch.tensor([(0 - mean) / std]), torch.tensor([(255 - mean) / std])
        >>> are_of_pixels(bounds(123.7, 58.4)), are_of_pixels(bounds(0.0, 255.0))
        (True, True)
        >>> are_of_pixels(bounds(0.49, 0.23)), are_of_pixels(bounds(32768, 16384))
        (False, False)
        >>> are_of_pixels(bounds(0.0, 1.0))  # it may leave images of any unit as they are
        False
    """
    distance = bounds[1] - bounds[0]
    return bool((distance >= 1 - 1e-4).all() and (distance < 255 / 2).all())
