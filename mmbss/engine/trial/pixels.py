"""Whether teacher and student get the images that they were made for, and leave them as they are.

A teacher is whatever has ``from_student(inputs)``, ``logits(inputs)`` and ``pixel_bounds``, such as
that of a distiller; a search for boundary samples whatever has an ``attack``.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mmbss.engine.errors import ConfigError, naming
from mmbss.engine.pixel_range import (
    CURE,
    ONE_STEP,
    ROUNDING,
    are_of_pixels,
    check_pixels,
    ends_between,
    other_unit,
)

#: How far beyond bounds of one's own an input may lie, as a share of the distance between them:
#: those of the authors, (-2.5, 2.5), cut the brightest pixels.
CUT = 0.1
#: Images that differ by so many times more than those of the validation have another unit.
MOST_TIMES = 20
#: What is wrong with a network that does so.
CHANGES_INPUTS = (
    'changes the images it gets in place, but teacher, student and attack share them: write '
    'x = x - mean instead of x -= mean, or inplace=False'
)


def check_channels(teacher: Any, inputs: Tensor) -> None:
    """Refuse a teacher whose normalisation makes images of other channels out of the student's."""
    given, got = inputs.shape[1], teacher.from_student(inputs).shape[1]
    if given != got:
        raise ConfigError(
            f'model.teacher: the student gets images of {given} channels, but the mean and std of '
            f'the teacher are those of {got}: give both as many channels, for instance by '
            'LoadImageFromFile(color_type=...) in the pipeline'
        )


def check_units(teacher: Any, inputs: Tensor, where: str) -> None:
    """Refuse images of another unit than the pixels of [0, 255] that a teacher normalises.

    One that normalises as the student does gets what the student gets, of whatever unit; so does
    one whose mean and std are not in these pixels either.

    Args:
        teacher: See above.
        inputs: (N, C, H, W) in the student's normalisation.
        where: Path of the teacher in the config.

    Raises:
        ConfigError: With the pixels.
    """
    seen, bounds = teacher.from_student(inputs), teacher.pixel_bounds
    if seen is not inputs and are_of_pixels(bounds):
        check_pixels(seen, bounds, where)


def check_untouched(ask: Callable[[Tensor], Any], inputs: Tensor, where: str) -> Any:
    """Refuse a network that changes the images it is asked about, since others get them too.

    Args:
        ask: Passes (N, C, H, W) inputs through the network.
        inputs: Such inputs; they stay as they are.
        where: What to call the network in a message.

    Returns:
        What it puts out.
    """
    given = inputs.clone()
    with naming(where):
        outputs = ask(given)
    if not torch.equal(given, inputs):
        raise ConfigError(f'{where} {CHANGES_INPUTS}')
    return outputs


def doubts_of_units(
    train: Sequence[Tensor], val: Sequence[Tensor], preprocessor: Any
) -> Iterator[str]:
    """What may be wrong with the unit of pixels, such as 0 to 1 where 0 to 255 is normalised.

    Images of one colour tell nothing.

    Args:
        train: Some batches of the training, (N, C, H, W), as the model gets them.
        val: The same of the validation.
        preprocessor: May have the ``mean`` and ``std`` of a normalisation.
    """
    of_train, of_val = _spread(train), _spread(val)
    most = max(of_train, of_val)
    if min(of_train, of_val) > 0 and most > MOST_TIMES * min(of_train, of_val):
        yield (
            f'as the model gets them, images of train_dataloader differ by {of_train:.3g} between '
            f'their darkest and brightest pixels, those of val_dataloader by {of_val:.3g}: if one '
            'of the pipelines scales or normalises them and the other does not, correct it'
        )
        return
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    mean, std = (0.0, 1.0) if mean is None or std is None else (mean, std)
    bounds = (0.0 - mean) / std, (255.0 - mean) / std
    problems = (other_unit(batch, bounds) for batch in (*train, *val) if batch.ndim == 4)
    if problem := next(filter(None, problems), None):
        yield (
            f'by mean and std of data_preprocessor {problem}: {CURE}; metrics in pixels, export '
            'and predict refuse such images'
        )


def _spread(batches: Sequence[Tensor]) -> float:
    """The difference between the brightest and the darkest pixel of a channel."""
    pixels = [batch.float().transpose(0, 1).flatten(1) for batch in batches if batch.ndim == 4]
    return max((float((each.amax(1) - each.amin(1)).max()) for each in pixels), default=0.0)


def check_bounds(search: Any, teacher: Any, inputs: Tensor, where: str) -> None:
    """Refuse images that lie elsewhere than the bounds of a search for boundary samples.

    Args:
        search: Has ``bounds`` in the teacher's normalisation, None for pixels 0 and 255.
        teacher: See above.
        inputs: (N, C, H, W) in the student's normalisation.
        where: Path of the search in the config.
    """
    bounds, seen = getattr(search, 'bounds', None), teacher.from_student(inputs)
    if bounds is None:
        cure = (
            'scale images, mean and std to pixels of 0 to 255, or set bounds of the term in the '
            "teacher's normalised units"
        )
        check_pixels(seen, teacher.pixel_bounds, where, cure, ROUNDING)
        return
    least, most = ends_between(seen, bounds)
    images = f'images lie at {least:.4g} to {most:.4g} of the way between its bounds'
    cure = "correct them: they are in the teacher's normalised units"
    if least < -CUT or most > 1 + CUT:
        raise ConfigError(f'{where}: {images}, beyond bounds={bounds}: {cure}')
    if 0 < most - least <= ONE_STEP:
        raise ConfigError(
            f'{where}: {images}, so that bounds={bounds} hold next to nothing back: {cure}'
        )
