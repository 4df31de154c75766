"""One whole distillation of the digits, interrupted and gone on with; the rest looks at it."""

import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import mmbss.distil.finish
from mmbss.engine.errors import ConfigError
from mmbss.studies.runs import Run

FLAGS = ['--epochs=12', '--settings=1', '--methods=kd', '--teacher=resnet8', '--batch-size=16']


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Forty of each of three digits as files, and one that is broken."""
    root = tmp_path_factory.mktemp('digits') / 'images'
    digits = load_digits()
    for label in range(3):
        (root / f'digit {label}').mkdir(parents=True)
        for row in np.flatnonzero(digits.target == label)[:40]:
            pixels = (digits.images[row] * 255 / 16).round().astype(np.uint8)
            Image.fromarray(pixels).save(root / f'digit {label}' / f'{row}.png')
    (root / 'digit 0' / 'broken.png').write_bytes(b'')
    return root


@pytest.fixture(scope='module')
def distil(images, forked, root):
    """Call the tool, with trainings that are forks of this process; each is told to ``before``."""

    def call(folder, *flags, before=lambda run: None, check=True):
        def train(run, tool, flags, log, threads):
            before(run)
            completed = forked(tool, *flags, check=False)
            log.write_text(completed.stdout + completed.stderr)
            if completed.returncode:
                raise ConfigError(f'{run}: {completed.stderr[-300:]}')

        def play_trainings():
            Run.call = train
            # tests of export and report look closer
            mmbss.distil.finish.FORMATS = ('pth',)
            mmbss.distil.finish.ATTACKED = 8

        tool = root / 'tools' / 'distil.py'
        given = [images, '--work-dir', folder, *FLAGS, *flags]
        return forked(tool, *given, check=check, before=play_trainings)

    return call


@pytest.fixture(scope='module')
def interrupted(distil, tmp_path_factory):
    """A distillation that is told to end when the student is to learn from the teacher."""
    folder = tmp_path_factory.mktemp('distil') / 'work'

    def interrupt(run):
        if run.arm.startswith('kd'):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    completed = distil(folder, before=interrupt, check=False)
    assert completed.returncode
    times = {path: path.stat().st_mtime_ns for path in folder.rglob('*.pth')}
    return folder, completed, times


@pytest.fixture(scope='module')
def finished(interrupted, distil):
    folder, _, times = interrupted
    return folder, distil(folder), times


def test_the_plan_is_said_before_anything_is_done(interrupted):
    _, completed, _ = interrupted
    said, _, _ = completed.stdout.partition('the teacher first')
    for words in ('3 runs of 12 epochs', 'kd-t4-w0.9', 'broken.png'):
        assert words in said
    assert 'go on with: ' in completed.stderr


def test_it_goes_on_where_it_was_interrupted(finished):
    folder, completed, times = finished
    assert len(times) >= 2
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert 'measuring' not in completed.stdout
    assert (folder / 'runs' / 'kd-t4-w0.9' / 'seed_0' / 'epoch_12.pth').is_file()


def test_what_lies_there_in_the_end(finished):
    folder, _, _ = finished
    for name in ('report.html', 'summary.md', 'student/README.md', 'student/student.pth'):
        assert (folder / name).stat().st_size > 0
    torch.load(folder / 'student' / 'student.pth', weights_only=True)
    report = (folder / 'report.html').read_text()
    assert 'kd-t4-w0.9' in report


def test_the_summary_says_the_figures_of_the_files(finished):
    folder, completed, _ = finished
    choice = json.loads((folder / 'choice.json').read_text())
    summary = (folder / 'summary.md').read_text()
    assert summary in completed.stdout
    for own in choice['test']['figures'].values():
        assert f'{own["accuracy"]:.1f} | {own["low"]:.1f} to {own["high"]:.1f}' in summary
    compared = json.loads((folder / 'runs' / 'compare.json').read_text())
    for row in compared['arms']:
        if row['name'] in choice['validation']:
            found = choice['validation'][row['name']]['accuracy']
            assert row['values'] == [pytest.approx(found, abs=1e-4)]


def test_no_test_image_was_learned_from_or_chosen_by(finished):
    folder, _, _ = finished
    lists = [
        (folder / 'data' / f'{name}.txt').read_text().split('\n')[:-1]
        for name in ('train', 'val', 'test')
    ]
    assert len(set().union(*lists)) == sum(map(len, lists)) == 120
    for log in folder.glob('runs/**/output.log'):
        assert 'Epoch(test)' not in log.read_text()
