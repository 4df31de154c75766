"""What a teacher wants of its images: their normalisation, order of channels and size."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbss.attacks.functional import Bounds
from mmbss.engine.class_names import as_names
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_choice
from mmbss.teachers.normalisation import (
    InputMap,
    Normalisation,
    check_normalisation,
    normalisation,
)
from mmbss.teachers.sources import Source

#: Orders of the colour channels.
ORDERS = ('rgb', 'bgr')
#: Means of the pixels of ImageNet, CIFAR-10 and CIFAR-100: red, green and blue.
RGB_MEANS = (
    (123.675, 116.28, 103.53),
    (125.307, 122.961, 113.8575),
    (129.304, 124.070, 112.434),
)


def stated_normalisation(
    mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation as they are given, (C, 1, 1) float32 each; None where they are not.

    Raises:
        ConfigError: If one is missing, they do not fit, or they are not in pixels of [0, 255].

    Examples:
        >>> stated_normalisation([0.5], [0.5])
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: teacher.mean=[0.5] and std=[0.5] must be in pixels of ...
    """
    if mean is None and std is None:
        return None
    fault = f'teacher.mean={mean} and std={std} must have a number for each channel, both of them'
    if not isinstance(mean, (list, tuple)) or not isinstance(std, (list, tuple)):
        raise ConfigError(fault)
    if len(mean) != len(std) or not mean:
        raise ConfigError(fault)
    in_pixels = all(each == 0 or 1 < each <= 255 for each in mean)
    if not in_pixels or not all(1 <= each < math.inf for each in std):
        raise ConfigError(
            f'teacher.mean={[*mean]} and std={[*std]} must be in pixels of [0, 255]: multiply what '
            'is meant for images in [0, 1] by 255'
        )
    values = (torch.tensor([*map(float, each)]).view(-1, 1, 1) for each in (mean, std))
    return next(values), next(values)


def is_of_pixels(mean: Tensor, std: Tensor) -> bool:
    """Whether a normalisation leaves pixels of [0, 255] as they are."""
    return bool((mean == 0).all() and (std == 1).all())


def listed_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of classes as they are given.

    Raises:
        ConfigError: If it is no list, or an empty one.

    Examples:
        >>> listed_classes(['cat', 'dog'])
        ('cat', 'dog')
    """
    names = as_names(classes)
    if names is None:
        raise ConfigError(f'teacher.classes={classes!r} must be a list of names, one a class')
    return names


def height_and_width(input_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Height and width, None where they are not given.

    Raises:
        ConfigError: If they are no whole numbers, or not positive.

    Examples:
        >>> height_and_width(224), height_and_width((32, 48))
        ((224, 224), (32, 48))
    """
    if input_size is None:
        return None
    sizes = [input_size, input_size] if isinstance(input_size, int) else [*input_size]
    if len(sizes) != 2 or not all(type(each) is int and each >= 1 for each in sizes):
        raise ConfigError(
            f'teacher.input_size={input_size} must be a whole number of at least 1, or two of them'
        )
    return sizes[0], sizes[1]


def resized(images: Tensor, size: tuple[int, int], interpolation: str, bounds: Bounds) -> Tensor:
    """Images of another size, differentiable.

    Smaller ones are smoothed before, as PIL, torchvision and timm do. A bicubic curve may leave
    the range of the pixels, which images of 8 bits cannot.

    Args:
        images: (N, C, H, W).
        size: Height and width.
        interpolation: ``'bilinear'`` or ``'bicubic'``.
        bounds: Lowest and highest value of an input, (C, 1, 1) each.

    Returns:
        (N, C, *size), the images themselves where they have that size.
    """
    if images.shape[-2:] == size:
        return images
    images = functional.interpolate(images, size, mode=interpolation, antialias=True)
    if interpolation == 'bicubic':
        lowest, highest = (torch.as_tensor(each).to(images) for each in bounds)
        images = images.clamp(lowest, highest)
    return images


def order_of_mean(mean: Any) -> str | None:
    """The order of the channels whose mean is that of photographs, None where it tells none.

    Args:
        mean: Of the channels in pixels of [0, 255], a tensor or numbers; None where unknown.

    Examples:
        >>> order_of_mean([125.3, 123.0, 113.9]), order_of_mean([103.53, 116.28, 123.675])
        ('rgb', 'bgr')
        >>> order_of_mean([127.5] * 3) is order_of_mean(None) is None
        True
    """
    if mean is None:
        return None
    values = torch.as_tensor(mean).flatten().float().cpu()
    if len(values) != 3:
        return None
    for order, own in zip(ORDERS, (values, values.flip(0)), strict=True):
        if any((own - torch.tensor(known)).abs().max() <= 3 for known in RGB_MEANS):
            return order
    return None


def order_of_student(preprocessor: Any) -> str | None:
    """The order of the channels of what a data preprocessor hands over, None where unknown.

    The mean of photographs tells it, such as those of CIFAR or ImageNet. ``to_rgb`` turns BGR, as
    images are read from files, into RGB. Without it they stay as they are: RGB in the arrays of
    CIFAR, BGR from files.
    """
    found = order_of_mean(getattr(preprocessor, 'mean', None))
    return found or ('rgb' if getattr(preprocessor, 'to_rgb', False) else None)


def order_of_channels(
    reverse_channels: bool | None,
    channels: str | None,
    to_rgb: bool | None,
    mean: Sequence[float] | None,
    student_preprocessor: nn.Module,
) -> bool:
    """Whether a teacher wants the channels in the reverse order of the student.

    Args:
        reverse_channels: What the config says.
        channels: The order that the teacher wants, None where unknown.
        to_rgb: What the teacher's own data preprocessor does, None where it has none.
        mean: That of the teacher's images, None where unknown.
        student_preprocessor: That of the student.

    Raises:
        ConfigError: If it is unclear.
    """
    check_choice(None, ORDERS, channels=channels)
    if reverse_channels is not None:
        return reverse_channels
    if channels is not None:
        given = order_of_student(student_preprocessor)
        if given is None:
            raise ConfigError(
                f'the teacher wants {channels.upper()} images, but neither mean nor to_rgb of the '
                "student's data preprocessor say what they are: set teacher.reverse_channels to "
                f'False if they are {channels.upper()}, to True if not; arrays of CIFAR are RGB, '
                'images from files BGR'
            )
        return given != channels
    own, given = order_of_mean(mean), order_of_mean(getattr(student_preprocessor, 'mean', None))
    if own and given:
        return own != given
    student_to_rgb = getattr(student_preprocessor, 'to_rgb', False)
    if to_rgb is not None and to_rgb != student_to_rgb:
        raise ConfigError(
            f"the teacher's data preprocessor has to_rgb={to_rgb}, the student's has "
            f'to_rgb={student_to_rgb}: set teacher.reverse_channels to True if the two networks '
            'want the colour channels in opposite order, to False if not'
        )
    return False


def input_map(
    source: Source,
    stated: Normalisation | None,
    reverse_channels: bool,
    student_preprocessor: nn.Module,
) -> InputMap:
    """What maps inputs of the student to those of its teacher.

    Args:
        source: The teacher's network, with what its library says of its images.
        stated: Takes the place of that.
        reverse_channels: See :func:`order_of_channels`.
        student_preprocessor: That of the student.

    Raises:
        ConfigError: If a data preprocessor does more than normalise, so that nothing is known.
    """
    of_student = normalisation(student_preprocessor)
    given = stated or source.normalisation
    to_teacher = InputMap(given or of_student, of_student, reverse_channels)
    own = None if stated else getattr(source.network, 'data_preprocessor', None)
    divisor = getattr(own, 'pad_size_divisor', 1)
    if divisor not in (1, getattr(student_preprocessor, 'pad_size_divisor', 1)):
        raise ConfigError(
            f"the teacher's data preprocessor has pad_size_divisor={divisor}, but it is asked "
            "about the student's images as they are: give the student's the same, or leave it out"
        )
    # two of one kind make the same of pixels, whatever that is
    is_like = to_teacher.is_identity and type(own) is type(student_preprocessor)
    if given and not is_like:
        check_normalisation(student_preprocessor)
        if own is not None:
            check_normalisation(own, 'teacher.config.data_preprocessor')
    return to_teacher
