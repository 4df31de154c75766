"""Which runs fit into the time that is given, and for how many epochs."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmbss.distil.methods import METHODS
from mmbss.distil.timing import Cost
from mmbss.engine.errors import ConfigError
from mmbss.engine.words import counted

#: Name of the teacher's training among those of the methods.
TEACHER = 'teacher'
#: Share of the time that is kept for choosing, report and export, if they need it all.
RESERVE = 0.2
#: Share of the time of trainings that is kept for what was not foreseen.
MARGIN = 0.1
#: What choosing, report and export take with the smallest networks, in imports of everything.
IMPORTS = 5.0
#: What a whole report asks of the teacher, and of students, in images of a training of each.
ASKED_TEACHER, ASKED_STUDENTS = 9000, 7000
#: Share of a report that is made whatever the time.
LEAST_SHARE = 1 / 8
#: Epochs below which nothing can be said of a method.
LEAST = 3
#: Steps that a network should make before other temperatures and weights are tried, and those
#: above which it is not expected to learn much more.
ENOUGH, MOST = 600, 6000
#: The same in epochs, for few images and for many.
ENOUGH_EPOCHS, MOST_EPOCHS = (20, 100), (30, 200)


@dataclass(frozen=True)
class Plan:
    """What is tried.

    Attributes:
        epochs: Of each training.
        methods: Names of the methods.
        rounds: Settings of each, as far as it has so many.
        seconds: What all of it will take.
        notes: What was left out for want of time, a line each.
    """

    epochs: int
    methods: list[str]
    rounds: int
    seconds: float
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Costs:
    """What everything costs.

    Attributes:
        trainings: By method, and of the :data:`TEACHER` where it is trained first.
        before: Seconds until there is a plan.
        hand_over: Seconds of choosing, report and export, without what networks take in it.
        report: Seconds that networks take in a whole report.
    """

    trainings: Mapping[str, Cost]
    before: float = 0.0
    hand_over: float = 0.0
    report: float = 0.0

    def for_runs(self, minutes: float) -> float:
        """Seconds that trainings may take of all the time."""
        kept = self.hand_over + self.share(RESERVE * 60 * minutes) * self.report
        return 60 * minutes - self.before - kept

    def share(self, seconds: float) -> float:
        """How much of a whole report fits into the time that trainings leave."""
        fitting = (seconds - self.hand_over) / (self.report or 1.0)
        return min(max(fitting, LEAST_SHARE), 1.0)

    def seconds(self, names: Sequence[str], rounds: int, epochs: int) -> float:
        """What all runs take."""
        counts = {name: min(rounds, len(METHODS[name])) for name in names}
        if TEACHER in self.trainings:
            counts[TEACHER] = 1
        return sum(count * self.trainings[name].of(epochs) for name, count in counts.items())


def within(steps: int, steps_an_epoch: int, bounds: tuple[int, int]) -> int:
    """Epochs that make so many steps, within bounds.

    Examples:
        >>> within(600, 6, (20, 100)), within(600, 1000, (20, 100))
        (100, 20)
    """
    return min(max(math.ceil(steps / steps_an_epoch), bounds[0]), bounds[1])


def make_plan(
    costs: Costs,
    methods: Sequence[str],
    minutes: float,
    steps: int,
    epochs: int | None = None,
    rounds: int | None = None,
) -> Plan:
    """Choose epochs, methods and settings for a time.

    Each method gets as many settings as the others, and further ones only where a training is long
    enough to tell them apart. Where not even the first ones fit, the dearest of the last methods
    are left out, but not labels, nor the first method beside them.

    Args:
        costs: What trainings cost.
        methods: Names of methods in their order, ``labels`` first.
        minutes: For all of it.
        steps: Of an epoch.
        epochs: Of each training; None: as many as fit and are of use.
        rounds: Settings of each method at most; None: as many as fit.

    Raises:
        ConfigError: If the time is too short; says how much would do.
    """
    seconds = (1 - MARGIN) * costs.for_runs(minutes)
    least = epochs or LEAST
    wanted = epochs or within(ENOUGH, steps, ENOUGH_EPOCHS)
    most = epochs or within(MOST, steps, MOST_EPOCHS)
    chosen, notes = [*methods], []

    def fit(rounds: int, epochs: int) -> bool:
        return costs.seconds(chosen, rounds, epochs) <= seconds

    while not fit(1, least) and len(chosen) > min(2, len(methods)):
        notes.append(f'left out, since {minutes:g} minutes do not suffice for it: {chosen.pop()}')
    if not fit(1, least):
        needed = costs.seconds(chosen, 1, least)
        enough = next(m for m in itertools.count(1) if (1 - MARGIN) * costs.for_runs(m) >= needed)
        raise ConfigError(
            f'--minutes {minutes:g} do not suffice for {counted(least, "epoch")} of '
            f'{" and ".join(chosen)}: give about {enough}, a smaller --size, or a smaller --teacher'
        )
    possible = rounds or max(len(METHODS[name]) for name in chosen)
    tried = max((each for each in range(1, possible + 1) if fit(each, wanted)), default=1)
    if tried < possible:
        notes.append(f'for want of time, {tried} of {possible} temperatures and weights are tried')
    own = epochs or max(each for each in range(least, most + 1) if fit(tried, each))
    if own < wanted:
        notes.append(
            f'{counted(own, "epoch")} will hardly do, {wanted} would be better: more --minutes, '
            'fewer --methods or a smaller --size'
        )
    return Plan(own, chosen, tried, costs.seconds(chosen, tried, own), notes)
