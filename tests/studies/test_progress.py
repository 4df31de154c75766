import time
from pathlib import Path

import pytest

from mmbss.studies.progress import Progress, duration, read_place
from mmbss.studies.results import Result
from mmbss.studies.runs import Run

EPOCH = 'Epoch(train) [12][20/20]  lr: 1.0e-01  eta: 0:10:00  time: 0.02  loss: 1.5\n'
ITERATION = 'Iter(train) [ 400/1000]  lr: 1.0e-01  eta: 2 days, 1:00:05  loss: 1.5\n'


@pytest.fixture
def runs(tmp_path):
    """Two seeds of two arms."""
    return [Run(arm, '', seed, tmp_path / arm / str(seed)) for seed in (0, 1) for arm in 'ab']


def result(run, seconds):
    return Result(run.arm, run.seed, 'accuracy/top1', 50.0, 2, 3, None, seconds, str(run.folder))


def log(run, text):
    run.folder.mkdir(parents=True)
    run.log.write_text(text)


def test_the_last_line_about_the_training_says_where_it_is(tmp_path):
    path = tmp_path / 'output.log'
    assert read_place(path) is None
    path.write_text('student     CIFARResNet\n')
    assert read_place(path) is None
    path.write_text(EPOCH + ITERATION + 'Iter(val) [2/2]  accuracy/top1: 50.0\n' + 'x' * 500)
    assert read_place(path) == ('iteration 400', 2 * 86400 + 3605)
    path.write_text(EPOCH * 1000)
    assert read_place(path) == ('epoch 12', 600)


def test_finished_runs_of_the_same_arm_tell_the_time(runs):
    progress = Progress(total=4, jobs=2)
    found = [result(runs[0], 600.0), result(runs[1], 1200.0)]
    assert progress.in_all(runs[2:], found) == f'2 of 4, about {duration(1800 / 2)} left'
    assert progress.in_all([], found) == '4 of 4'
    assert progress.in_all(runs, []) == '0 of 4'


def test_the_first_run_tells_the_time_of_all_before_it_is_finished(runs, monkeypatch):
    progress = Progress(total=4, jobs=1)
    log(runs[0], EPOCH)
    now = time.monotonic()
    with progress.under_way(runs[0]), progress.under_way(runs[1]):
        monkeypatch.setattr(time, 'monotonic', lambda: now + 300.0)
        assert progress.lines(runs, []) == [
            'a, seed 0: epoch 12, 10 min left',
            'b, seed 0: begins',
            f'0 of 4, about {duration(600 + 600 + 2 * 900)} left',
        ]
        found = [result(Run('b', '', 5, Path('b')), 1000.0)]
        (*_, last) = progress.lines(runs, found)
        assert last == f'0 of 4, about {duration(600 + 700 + 900 + 1000)} left'
    assert progress.lines(runs[2:], []) == ['2 of 4']
