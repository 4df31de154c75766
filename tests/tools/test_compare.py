import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest


@pytest.fixture(scope='module')
def tiny(tmp_path_factory, bss_settings, write_config):
    """Configs of one epoch: the student alone, BSS, and one whose teacher is missing."""
    folder = tmp_path_factory.mktemp('tiny')
    bss = bss_settings('unused', epochs=1)
    added = ('teacher', 'losses')
    student = {key: value for key, value in bss['model'].items() if key not in added}
    plain = dict(bss, model=dict(student, type='ImageClassifier'), custom_hooks=[])
    lost = dict(bss, model=dict(bss['model'], teacher=dict(config={}, checkpoint='gone.pth')))
    lost['model']['teacher']['config'] = dict(student, type='ImageClassifier')
    configs = dict(plain=plain, bss=bss, lost=lost)
    return {name: write_config(folder / f'{name}.py', config) for name, config in configs.items()}


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    return tmp_path_factory.mktemp('compare')


@pytest.fixture
def call(tiny, work_dir, call_tool):
    """Run tools/compare.py on the configs, always with the same work dir."""

    def call(*names):
        flags = ['--seeds', 0, '--jobs', 2, '--work-dir', work_dir]
        call_tool('compare', *(tiny[name] for name in names), *flags)

    return call


@pytest.fixture(scope='module')
def forked_run(fork):
    """Takes the place of ``subprocess.run``: runs are forks, and no new interpreters."""
    run = subprocess.run

    def forget_threads():  # Python fails to end them in a fork of another thread than the main one
        threading._shutdown = lambda: None

    def call(command, stdout=None, **options):
        if command[0] != sys.executable:
            return run(command, stdout=stdout, **options)
        process = fork(*command[1:], output=(stdout.name, stdout.name), before=forget_threads)
        return subprocess.CompletedProcess(command, process.wait())

    return call


@pytest.fixture
def in_forks(monkeypatch, forked_run):
    monkeypatch.setattr(subprocess, 'run', forked_run)


@pytest.fixture(scope='module')
def compared(tiny, work_dir, forked, forked_run, root):
    """What is printed while two configs are compared, and a third fails."""
    completed = forked(
        *(root / 'tools' / 'compare.py', *tiny.values(), '--seeds', 0, '--jobs', 2),
        *('--work-dir', work_dir),
        before=lambda: setattr(subprocess, 'run', forked_run),
        check=False,
    )
    assert completed.returncode == 1
    # what other tests compare later is written to the same files
    completed.files = {path.suffix: path.read_text() for path in work_dir.glob('compare.*')}
    return completed


def test_every_run_ends_in_a_row_of_the_table(compared):
    lines = compared.files['.md'].splitlines()
    assert [line.split('|')[1].strip() for line in lines[2:4]] == ['plain', 'bss']
    assert 'lost 0 of 1 seeds' in lines[5]
    rows = json.loads(compared.files['.json'])['arms']
    assert '<svg' in compared.files['.svg']
    for row in rows:
        scalars = next(Path(row['folder']).glob('*/vis_data/scalars.json')).read_text()
        logged = [json.loads(line) for line in scalars.splitlines()]
        assert row['mean'] == logged[-1]['accuracy/top1']
        assert row['epochs'] == [1]
        assert row['standard_deviation'] is None
    assert rows[0]['parameters'] == rows[1]['parameters'] > 1000


def test_a_failed_run_is_named_with_its_reason_and_its_log(compared, work_dir):
    last = compared.stderr.strip().splitlines()[-1]
    assert last.startswith('error: lost, seed 0: error: model.teacher.checkpoint=')
    log = work_dir / 'lost' / 'seed_0' / 'output.log'
    assert str(log) in last
    assert log.is_file()
    assert 'Traceback' not in compared.stderr


@pytest.fixture
def untouched(compared, work_dir):
    """Check that a test trains nothing anew."""
    logs = {path: path.stat().st_mtime_ns for path in work_dir.glob('*/*/output.log')}
    yield
    assert logs == {path: path.stat().st_mtime_ns for path in work_dir.glob('*/*/output.log')}


def test_what_is_done_is_not_done_again(call, untouched, work_dir, capsys):
    call('plain', 'bss')
    table = (work_dir / 'compare.md').read_text()
    assert table in capsys.readouterr().out
    call('plain', 'bss')
    assert (work_dir / 'compare.md').read_text() == table


def test_an_interrupted_run_goes_on_from_its_checkpoint(call, compared, work_dir, in_forks):
    folder = work_dir / 'plain' / 'seed_0'
    (folder / 'run.json').write_text(json.dumps(dict(seed=0, commit='abc')))
    first = (folder / 'output.log').read_text()
    before = json.loads((work_dir / 'compare.json').read_text())
    (work_dir / 'compare.json').unlink()
    log = next(folder.glob('*/*.log'))
    ended = log.stat().st_mtime + 1000  # as if it had gone on for so long
    os.utime(log, (ended, ended))
    call('plain', 'bss')
    added = (folder / 'output.log').read_text().removeprefix(first)
    assert 'resumed epoch: 1' in added
    assert 'Epoch(train)' not in added
    again = json.loads((folder / 'run.json').read_text())
    after = json.loads((work_dir / 'compare.json').read_text())
    assert [row['values'] for row in after['arms']] == [row['values'] for row in before['arms']]
    assert again['seconds'] > 1000, 'the time before the interruption counts'
    assert (again['commit'], again['device']) == ('abc', 'unknown'), 'nothing was trained now'


def test_the_result_of_a_changed_config_is_refused(call, untouched, tiny):
    before = tiny['bss'].read_text()
    tiny['bss'].write_text(before.replace('lr=0.05', 'lr=0.01'))
    try:
        assert tiny['bss'].read_text() != before
        with pytest.raises(
            SystemExit, match=r'^error: bss, seed 0: .*another version of .*bss\.py'
        ):
            call('plain', 'bss')
    finally:
        tiny['bss'].write_text(before)


def test_a_teacher_that_fails_ends_with_one_clear_message(
    call_tool, tiny, monkeypatch, tmp_path, in_forks
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r'^error: lost, seed 0: .*no such file'):
        call_tool('compare', tiny['bss'], '--teacher', tiny['lost'])


def test_two_runs_of_one_name_are_refused_before_any_starts(call_tool, tiny, tmp_path):
    work_dir = tmp_path / 'runs'
    for configs, seeds, named in (
        ([tiny['plain']] * 2, [0], 'two configs are called plain'),
        ([tiny['plain']], [0, 0], 'two seeds are 0'),
        ([tiny['plain'], 'nope.py'], [0], r"no config file 'nope\.py'"),
    ):
        with pytest.raises(SystemExit, match=named):
            call_tool('compare', *configs, '--seeds', *seeds, '--work-dir', work_dir)
    assert not work_dir.exists()


@pytest.fixture
def study(tiny, compared, work_dir, tmp_path, monkeypatch):
    """A study of the two configs, whose runs are there already; its file."""
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / 'work_dirs' / 'studies' / 'small'
    for name in ('plain', 'bss'):
        shutil.copytree(work_dir / name / 'seed_0', runs / name / 'seed_0')
    arms = {name: dict(config=str(tiny[name])) for name in ('plain', 'bss')}
    own = dict(arms=arms, seeds=[0, 1], contrast=('bss', 'plain'), question='Which is better?')
    own['evaluators'] = [dict(type='Accuracy', topk=(1, 3))]
    (tmp_path / 'small.py').write_text('\n'.join(f'{k} = {v!r}' for k, v in own.items()))
    return tmp_path / 'small.py'


def test_a_study_reads_and_measures_what_is_finished(call_tool, study, in_forks):
    results = study.parent / 'results'
    call_tool('compare', study, '--no-train', '--results', results, '--arms', 'bss')
    with pytest.raises(SystemExit, match='--no-train and --rerun'):
        call_tool('compare', study, '--no-train', '--rerun', '--results', results)
    (result,) = json.loads((results / 'small.json').read_text())['results']
    assert result['metrics']['accuracy/top1'] == pytest.approx(result['value'], abs=1e-3)
    assert result['metrics']['accuracy/top3'] > result['value']
    table = (results / 'small.md').read_text()
    assert table.startswith('Which is better?')
    assert 'plain 0 of 2 seeds, bss 1 of 2 seeds' in table
    assert '<svg' in (results / 'small.svg').read_text()


@pytest.mark.parametrize(
    ('flags', 'named'),
    [
        (['--arms', 'bsss'], r"--arms: small has no bsss, choose among \['plain', 'bss'\]"),
        (['--seeds', 2], r'--seeds: small has no 2'),
        (['--metric', 'loss'], '--metric is for config files'),
        (['--cfg-options', 'a.b=1'], '--cfg-options is for config files'),
        (['--jobs', 0], '--jobs 0 must be at least 1'),
        (['small.py'], r'.*small\.py is a study: give it alone'),
    ],
)
def test_flags_that_do_not_fit_a_study_are_refused(call_tool, study, flags, named):
    with pytest.raises(SystemExit, match=f'^error: {named}'):
        call_tool('compare', study, *flags)


def test_a_study_without_arms_is_told_from_a_config(call_tool, tmp_path):
    (tmp_path / 'armless.py').write_text('seeds = [0]')
    with pytest.raises(SystemExit, match=r"^error: the study .*armless.py lacks 'arms'"):
        call_tool('compare', tmp_path / 'armless.py')


def test_the_results_of_a_study_are_no_study(call_tool, tmp_path):
    (tmp_path / 'done.json').write_text('{"study": "done", "seeds": [0], "arms": []}')
    with pytest.raises(SystemExit, match=r'^error: .*done\.json holds no study'):
        call_tool('compare', tmp_path / 'done.json')


def test_the_seed_is_no_option_of_a_comparison(call_tool, tiny, tmp_path):
    flags = ['--work-dir', tmp_path / 'runs', '--cfg-options', 'randomness.seed=5']
    with pytest.raises(SystemExit, match=r"^error: compare: common: 'randomness\.seed' is set"):
        call_tool('compare', tiny['plain'], *flags)


def test_a_seed_that_an_arm_has_not_is_refused(call_tool, tmp_path, tiny):
    study = tmp_path / 'few.py'
    arms = f'arms = dict(a=dict(config={str(tiny["plain"])!r}, seeds=1))'
    study.write_text(f'{arms}\nseeds = [0, 3]\n')
    with pytest.raises(SystemExit, match=r'few runs a with the seeds \[0\] alone'):
        call_tool('compare', study, '--arms', 'a', '--seeds', 3, '--results', tmp_path)
