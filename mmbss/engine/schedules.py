"""Schedules of learning rates that span a training, where it is made longer at a resume."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: What says how far a schedule is; and its end, which moves with that of the training.
PROGRESS = ('last_step', '_global_step', '_last_value', 'base_values', 'verbose', 'end')
#: Where mmengine begins to look for the best metric: no length.
WORST = 10**9


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
