"""Whether an attack does as it promises, which one of somebody's own may not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from mmbss.attacks import Attack, AttackResult
from mmbss.attacks.functional import ROUNDING, Bounds, ToLogits
from mmbss.engine.build import is_known
from mmbss.engine.errors import ConfigError

#: How far a logit may be from what the model says, as a share of the largest one: passes of another
#: number of samples round otherwise, in 16 bits by more.
TOLERANCE = 0.05
#: Of these there is one for each sample.
PER_SAMPLE = ('base', 'target', 'success', 'steps')
#: Types of which others cannot take the place.
TYPES = dict(base=torch.int64, target=torch.int64, success=torch.bool)


@contextmanager
def rehearsed(attack: Attack, where: str) -> Iterator[None]:
    """Refuse what an attack of somebody's own returns, while the context is open, if it is wrong.

    It costs a pass of the model more.

    Args:
        attack: Any; those of mmbss are tested.
        where: What to call its owner in a message.

    Raises:
        ConfigError: Where it is called, with what it must do.
    """
    if is_known(type(attack)):
        yield
        return
    run = attack.run

    def checked(
        model: ToLogits,
        samples: Tensor,
        base: Tensor,
        target: Tensor,
        bounds: Bounds | None,
        **further: Any,
    ) -> AttackResult:
        # it may move them in place
        result = run(model, samples.clone(), base, target, bounds, **further)
        if len(samples) and (problem := broken_promise(result, model, samples, bounds)):
            raise ConfigError(f'{where}: {type(attack).__name__} {problem}')
        return result

    with mock.patch.object(attack, 'run', checked):
        yield


def broken_promise(
    result: Any, model: ToLogits, samples: Tensor, bounds: Bounds | None
) -> str | None:
    """What an attack must do otherwise; None if it is all right.

    Args:
        result: What it returned.
        model: What it attacked.
        samples: (N, ...) float32, where it started.
        bounds: Lowest and highest value, as tensors.
    """
    if not isinstance(result, AttackResult):
        return f'returns a {type(result).__name__}: return a mmbss.attacks.AttackResult'
    shapes = dict(samples=samples.shape) | dict.fromkeys(PER_SAMPLE, samples.shape[:1])
    for name, shape in shapes.items():
        if problem := wrong_form(name, getattr(result, name), shape):
            return problem
    found = result.samples
    if not found.isfinite().all():
        return 'returns samples with NaN or infinity: keep those finite that it cannot move'
    if bounds is not None and (beyond := distance_beyond(found, samples, bounds)):
        return (
            f'moves samples by {beyond:.3g} beyond the bounds: clamp them, with '
            'mmbss.attacks.functional.project(samples, bounds)'
        )
    with torch.no_grad():
        answers = model(found).float()
    if problem := wrong_form('logits', result.logits, answers.shape):
        return problem
    allowed = TOLERANCE * answers.nan_to_num(0.0, 0.0, 0.0).abs().max()
    is_near = (result.logits - answers).abs() <= allowed
    # what the model itself says may be NaN or infinity
    if not (is_near | ~answers.isfinite()).all():
        return (
            'returns logits that the model does not give for the samples that it returns: ask the '
            'model once more where they have ended'
        )
    return None


def wrong_form(name: str, value: Any, shape: torch.Size) -> str | None:
    """What is to be of another shape or type; None if nothing is."""
    kind = TYPES.get(name)
    if isinstance(value, Tensor) and value.shape == shape and kind in (None, value.dtype):
        return None
    got = f'{value.dtype} {tuple(value.shape)}' if isinstance(value, Tensor) else repr(value)
    return f'returns {name} of {got}: make it a tensor of shape {tuple(shape)}' + (
        f' and type {kind}' if kind else ''
    )


def distance_beyond(found: Tensor, samples: Tensor, bounds: Bounds) -> float:
    """How far samples are outside of bounds, 0 where that is rounding, or where they started."""
    lowest, highest = (torch.as_tensor(bound).to(found) for bound in bounds)
    outside = torch.maximum(
        torch.minimum(lowest, samples) - found, found - torch.maximum(highest, samples)
    )
    most = float(outside.amax())
    return most if most > ROUNDING * float((highest - lowest).amax()) else 0.0
