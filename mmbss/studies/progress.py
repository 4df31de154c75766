"""How far the runs of a study are, and for how long they will take."""

import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from mmbss.studies.results import Result
from mmbss.studies.runs import Run

#: What mmengine logs of a training: epoch or iteration, and the time that is left.
LOGGED = re.compile(r'(Epoch|Iter)\(train\) +\[ *(\d+).* eta: (?:(\d+) days?, )?(\d+):(\d+):(\d+)')
UNITS = dict(Epoch='epoch', Iter='iteration')
#: Bytes at the end of a log in which that is looked for.
TAIL = 20_000


class Place(NamedTuple):
    """Where a training is: its epoch, or iteration, and the seconds that are left."""

    text: str
    seconds: float


def read_place(log: Path) -> Place | None:
    """Where the training is that writes a log; None before its first line about it."""
    if not log.is_file():
        return None
    with log.open('rb') as file:
        file.seek(max(log.stat().st_size - TAIL, 0))
        found = LOGGED.findall(file.read().decode(errors='replace'))
    if not found:
        return None
    unit, number, *left = found[-1]
    days, hours, minutes, seconds = (int(each or 0) for each in left)
    left_over = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return Place(f'{UNITS[unit]} {number}', left_over.total_seconds())


@dataclass
class Progress:
    """The runs of a study that are to be done.

    Attributes:
        total: How many there are in all.
        jobs: Runs at the same time.
        begun: When each run under way was begun, by :func:`time.monotonic`.
    """

    total: int
    jobs: int
    begun: dict[Run, float] = field(default_factory=dict)

    @contextmanager
    def under_way(self, run: Run) -> Iterator[None]:
        """Count a run as under way."""
        self.begun[run] = time.monotonic()
        try:
            yield
        finally:
            del self.begun[run]

    def lines(self, waiting: Sequence[Run], results: Sequence[Result]) -> list[str]:
        """A line for each run under way, and one for all."""
        places = {run: read_place(run.log) for run in [*self.begun]}
        return [
            *(
                f'{run}: {f"{place.text}, {duration(place.seconds)} left" if place else "begins"}'
                for run, place in places.items()
            ),
            self.in_all(waiting, results),
        ]

    def in_all(self, waiting: Sequence[Run], results: Sequence[Result]) -> str:
        """How many runs are done, and for how long the others will take.

        That is told by the logs of runs under way, finished runs of the same arm, or else by all.

        Args:
            waiting: Runs that are not finished, those under way too.
            results: Of finished runs.
        """
        now, done = time.monotonic(), f'{self.total - len(waiting)} of {self.total}'
        begun = {run: (now - since, read_place(run.log)) for run, since in [*self.begun.items()]}
        lengths: dict[str, list[float]] = defaultdict(list)
        for each in results:
            lengths[each.arm] += [] if each.seconds is None else [each.seconds]
        for run, (spent, place) in begun.items():
            if place and not lengths[run.arm]:
                lengths[run.arm] = [spent + place.seconds]
        every = [seconds for own in lengths.values() for seconds in own]
        if not (waiting and every):
            return done
        left = 0.0
        for run in waiting:
            spent, place = begun.get(run, (0.0, None))
            length = statistics.mean(lengths[run.arm] or every)
            left += place.seconds if place else max(length - spent, 0.0)
        return f'{done}, about {duration(left / self.jobs)} left'


def duration(seconds: float) -> str:
    """A time.

    Examples:
        >>> duration(50), duration(4200), duration(130000)
        ('1 min', '1 h 10 min', '36 h 7 min')
    """
    minutes = max(round(seconds / 60), 1)
    return f'{minutes // 60} h {minutes % 60} min' if minutes >= 60 else f'{minutes} min'
