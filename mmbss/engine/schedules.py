"""Schedules of learning rates that span a training, and what another length makes of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: What says how far a schedule is; and its end, which moves with that of the training.
PROGRESS = ('last_step', '_global_step', '_last_value', 'base_values', 'verbose', 'end')
#: Where mmengine begins to look for the best metric: no length.
WORST = 10**9
#: By how much, as a share, a schedule may miss the end of the training.
TOLERANCE = 0.05


def spans(
    schedulers: Sequence[Any], stored: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Numbers that each scheduler, as it was built, has taken from another length of the training.

    The stored state takes their place, so that the rate would follow the old length.
    What a schedule counts while it runs, such as epochs without a better metric, begins at 0, and
    is no length.
    """
    for scheduler, before in zip(schedulers, stored, strict=False):
        for key, new in scheduler.state_dict().items():
            old = before.get(key, new)
            is_length = type(new) is type(old) is int and 0 < new < WORST
            if key not in PROGRESS and is_length and old != new:
                path = f'param_scheduler.{type(scheduler).__name__}.{key}'
                yield path, f'{path}={new} (was {old})'


def extend(scheduler: Any, end: int) -> None:
    """Move the end of a schedule, and take the step that the earlier end has prevented."""
    is_over = scheduler._global_step >= scheduler.end
    scheduler.end = end
    if is_over and scheduler._global_step < end:
        scheduler._global_step -= 1
        scheduler.step()


def doubts_of_lengths(schedulers: Sequence[Any], epochs: float, iterations: float) -> Iterator[str]:
    """What may be wrong with schedules that were made for a training of another length.

    Args:
        schedulers: As they were built; those of somebody else's kinds may lack any attribute.
        epochs: Of the training; infinity where that is not known.
        iterations: The same.
    """
    for scheduler in schedulers:
        length, unit = epochs, 'epoch'
        if not getattr(scheduler, 'by_epoch', True):
            length, unit = iterations, 'iteration'
        name = f'param_scheduler ({type(scheduler).__name__})'
        begin, end = getattr(scheduler, 'begin', 0), getattr(scheduler, 'end', length)
        period: Any = getattr(scheduler, 'T_max', None)
        span = min(end, length) - begin
        is_known = isinstance(period, int) and span < WORST
        if is_known and abs(period - span) > TOLERANCE * span > 0:
            course = 'rises again' if period < span else 'stays above its lowest'
            yield (
                f'{name}.T_max={period}, but the training leaves it {span} (by {unit}), so in the '
                f'end the rate {course}: set T_max to the length of the schedule'
            )
        milestones = getattr(scheduler, 'milestones', None)
        if milestones and min(milestones) >= length:
            yield (
                f'{name}.milestones={sorted(milestones)} lie behind the end of the training, '
                f'{length} (by {unit}), so the rate stays as it is'
            )
