"""The runs of a distillation, one after the other, as long as there is time."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mmbss.engine.errors import ConfigError, lines_of
from mmbss.studies.progress import duration, read_place
from mmbss.studies.run_logs import logged_seconds
from mmbss.studies.runner import StudyRunner
from mmbss.studies.runs import Run

#: Seconds between two lines about a run that goes on.
PATIENCE = 30.0


@dataclass
class Outcome:
    """What has become of the runs.

    Attributes:
        finished: Names of the settings that are trained.
        skipped: Those that there was no time for.
        failed: Those that failed, and why.
        seconds: That all of them have taken.
    """

    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def seconds_of(run: Run) -> float:
    """How long a run has taken so far, interrupted calls included."""
    return float(run.info.get('seconds', logged_seconds(run.folder)))


def run_all(
    runner: StudyRunner, runs: Sequence[Run], estimates: Sequence[float], seconds: float
) -> Outcome:
    """Finish runs in their order; those that would end too late are not begun.

    The first one is always run. One that fails is told and does not hold up the others.

    Args:
        runner: Of the study that they belong to.
        runs: The runs.
        estimates: Seconds that each will take, which are corrected by those that are finished.
        seconds: For all of them.
    """
    outcome, taken, foreseen = Outcome(), 0.0, 0.0  # the latter two without failures
    for number, (run, estimate) in enumerate(zip(runs, estimates, strict=True)):
        pace = taken / foreseen if foreseen else 1.0
        left = [pace * each for each in estimates[number:]]
        if not run.is_done():
            needed = max(left[0] - seconds_of(run), 0.0)
            if number and outcome.seconds + seconds_of(run) + needed > seconds:
                outcome.skipped.append(run.arm)
                continue
            print(
                f'[{number + 1}/{len(runs)}] {run.arm}: about {duration(needed)}; all that is '
                f'left about {duration(sum(left))}',
                flush=True,
            )
        begin = time.monotonic()
        try:
            with told(run):
                runner.finish(run)
        except ConfigError as error:
            outcome.failed[run.arm] = lines_of(error)[-1]
            outcome.seconds += time.monotonic() - begin
            print(f'{run.arm} failed: {outcome.failed[run.arm]}', flush=True)
            continue
        outcome.finished.append(run.arm)
        taken += seconds_of(run)
        outcome.seconds += seconds_of(run)
        foreseen += estimate
    return outcome


@contextmanager
def told(run: Run) -> Iterator[None]:
    """Say now and then where a run is, while it goes on."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(PATIENCE):
            if place := read_place(run.log):
                left = duration(place.seconds)
                print(f'  {time.strftime("%H:%M:%S")} {place.text}, {left} left', flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
