from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mmbss.distil.running import run_all
from mmbss.engine.errors import ConfigError


@dataclass
class PlayedRun:
    """A run that takes as many seconds as is said."""

    arm: str
    takes: float
    info: dict = field(default_factory=dict)
    folder: Path = Path('nowhere')
    log: Path = Path('nowhere', 'log')

    def is_done(self):
        return 'seconds' in self.info


class PlayedRunner:
    def __init__(self, failing=()):
        self.failing, self.trained = failing, []

    def finish(self, run):
        if run.arm in self.failing:
            raise ConfigError(f'{run.arm}: loss is NaN')
        if not run.is_done():
            self.trained.append(run.arm)
            run.info['seconds'] = run.takes


def runs_of(*seconds):
    return [PlayedRun(name, each) for name, each in zip('abcd', seconds, strict=False)]


def play(runs, seconds, failing=()):
    runner = PlayedRunner(failing)
    outcome = run_all(runner, runs, [10.0] * len(runs), seconds)
    return outcome, runner.trained


def test_all_where_there_is_time():
    outcome, trained = play(runs_of(10, 10, 10), 30)
    assert outcome.finished == trained == ['a', 'b', 'c']


def test_none_is_begun_that_would_end_too_late():
    outcome, trained = play(runs_of(10, 10, 10), 25)
    assert trained == ['a', 'b']
    assert outcome.skipped == ['c']


@pytest.mark.parametrize('takes', [20, 5])
def test_estimates_follow_what_is_seen(takes):
    assert play(runs_of(*[takes] * 4), 45)[1] == list('abcd'[: 45 // takes])


def test_finished_ones_are_kept_and_count():
    runs = runs_of(10, 10, 10)
    runs[0].info['seconds'] = 10
    outcome, trained = play(runs, 25)
    assert (outcome.finished, trained) == (['a', 'b'], ['b'])


def test_one_that_fails_does_not_hold_up_others():
    outcome, _ = play(runs_of(10, 10, 10), 100, failing=('b',))
    assert outcome.seconds == pytest.approx(20, abs=5)
    assert outcome.finished == ['a', 'c']
    assert 'NaN' in outcome.failed['b']
