"""How far the runs of a study are, and for how long they will take."""

import re
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from mmbss.report.runs import Run
from mmbss.report.study_results import Result

#: What mmengine logs of a training: epoch or iteration, and the time that is left.
LOGGED = re.compile(r'(Epoch|Iter)\(train\) +\[ *(\d+).* eta: (?:(\d+) days?, )?(\d+):(\d+):(\d+)')
#: Bytes at the end of a log in which that is looked for.
TAIL = 20_000


class Place(NamedTuple):
    """Where a training is.

    Attributes:
        text: Its epoch, or iteration.
        seconds: That are left.
    """

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
    name = 'epoch' if unit == 'Epoch' else 'iteration'
    return Place(f'{name} {number}', left_over.total_seconds())


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
    begun: dict[str, tuple[Run, float]] = field(default_factory=dict)

    @contextmanager
    def under_way(self, run: Run) -> Iterator[None]:
        """Count a run as under way."""
        self.begun[str(run)] = (run, time.monotonic())
        try:
            yield
        finally:
            del self.begun[str(run)]

    def lines(self, waiting: Sequence[Run], results: Sequence[Result]) -> list[str]:
        """A line for each run under way, and one for all."""
        places = [(name, read_place(run.log)) for name, (run, _) in [*self.begun.items()]]
        return [
            *(
                f'{name}: {f"{place.text}, {in_words(place.seconds)} left" if place else "begins"}'
                for name, place in places
            ),
            self.in_all(waiting, results),
        ]

    def in_all(self, waiting: Sequence[Run], results: Sequence[Result]) -> str:
        """How many runs are done, and for how long the others will take.

        Args:
            waiting: Runs that are not finished, those under way too.
            results: Of finished runs, which tell how long others take.
        """
        done = f'{self.total - len(waiting)} of {self.total}'
        seconds = self._seconds_left(waiting, results)
        return f'{done}, about {in_words(seconds)} left' if seconds else done

    def _seconds_left(self, waiting: Sequence[Run], results: Sequence[Result]) -> float:
        """By the logs of runs under way, finished runs of the same arm, or else of all arms."""
        left: dict[str, float] = {}
        by_arm: dict[str, list[float]] = {}
        for each in results:
            if each.seconds is not None:
                by_arm.setdefault(each.arm, []).append(each.seconds)
        for name, (run, begin) in [*self.begun.items()]:
            spent, place = time.monotonic() - begin, read_place(run.log)
            if place:
                left[name] = place.seconds
                by_arm.setdefault(run.arm, [spent + place.seconds])
            elif run.arm in by_arm:
                left[name] = max(statistics.mean(by_arm[run.arm]) - spent, 0.0)
        overall = [seconds for own in by_arm.values() for seconds in own] or [0.0]
        needed = (
            left.get(str(run), statistics.mean(by_arm.get(run.arm, overall))) for run in waiting
        )
        return sum(needed) / self.jobs


def in_words(seconds: float) -> str:
    """A time.

    Examples:
        >>> in_words(50), in_words(4200), in_words(130000)
        ('1 min', '1 h 10 min', '36 h 7 min')
    """
    minutes = max(round(seconds / 60), 1)
    return f'{minutes // 60} h {minutes % 60} min' if minutes >= 60 else f'{minutes} min'
