"""Whether teacher and student get the images that they were made for, and leave them as they are.

A teacher is whatever has ``from_student(inputs)``, ``logits(inputs)`` and ``pixel_bounds``, such as
that of a distiller; a search for boundary samples whatever has an ``attack``.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mmbss.engine.errors import ConfigError, naming

#: How far beyond a bound an input may lie, as a share of the distance between the bounds. Another
#: normalisation rounds a pixel at 0 or 255 to a little beyond it.
ROUNDING = 1e-3
#: The same of bounds of one's own, as those of the authors, (-2.5, 2.5), cut the brightest pixels.
CUT = 0.1
#: Images that differ by no more than one of 255 steps between the bounds have another unit.
ONE_STEP = 1 / 255 + 1e-6
#: Normalised images that differ by less, or by so many times more than those of the validation,
#: have another unit; usual ones differ by 3 to 5.
LEAST_SPREAD, MOST_TIMES = 0.1, 20
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
        preprocessor: May have the ``std`` of a normalisation.
    """
    of_train, of_val = _spread(train), _spread(val)
    most = max(of_train, of_val)
    if min(of_train, of_val) > 0 and most > MOST_TIMES * min(of_train, of_val):
        yield (
            f'as the model gets them, images of train_dataloader differ by {of_train:.3g} between '
            f'their darkest and brightest pixels, those of val_dataloader by {of_val:.3g}: if one '
            'of the pipelines scales or normalises them and the other does not, correct it'
        )
    elif 0 < most < LEAST_SPREAD and getattr(preprocessor, 'std', None) is not None:
        yield (
            f'after data_preprocessor images differ by no more than {most:.3g} between '
            'their darkest and brightest pixels: if the pipelines scale or normalise them '
            'already, correct mean and std of data_preprocessor'
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
    bounds = getattr(search, 'bounds', None)
    lowest, highest = (
        torch.as_tensor(bound, dtype=torch.float32, device=inputs.device)
        for bound in bounds or teacher.pixel_bounds
    )
    # 0 and 1 at the bounds
    places = (teacher.from_student(inputs).float() - lowest) / (highest - lowest)
    least, most = float(places.min()), float(places.max())
    if bounds is None:
        images = f'images have pixels from {255 * least:.4g} to {255 * most:.4g}'
        allowed = 'pixels 0 to 255'
        cure = (
            'scale images, mean and std to pixels of 0 to 255, or set bounds of the term in the '
            "teacher's normalised units"
        )
    else:
        images = f'images lie at {least:.4g} to {most:.4g} of the way between its bounds'
        allowed = f'bounds={bounds}'
        cure = "correct them: they are in the teacher's normalised units"
    allowance = ROUNDING if bounds is None else CUT
    if least < -allowance or most > 1 + allowance:
        raise ConfigError(f'{where}: {images}, beyond {allowed}: {cure}')
    if 0 < most - least <= ONE_STEP:
        raise ConfigError(f'{where}: {images}, so that {allowed} hold next to nothing back: {cure}')
