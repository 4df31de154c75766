import json
from pathlib import Path

import pytest


@pytest.fixture(scope='module')
def tiny(tmp_path_factory, bss_settings, write_config):
    """Configs of one epoch: the student alone, BSS, and one whose teacher is missing."""
    folder = tmp_path_factory.mktemp('tiny')
    bss = bss_settings('unused', epochs=1)
    added = ('teacher', 'losses', 'boundary')
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

    def call(*names, options=()):
        flags = ['--seeds', 0, '--jobs', 2, '--work-dir', work_dir]
        flags += ['--cfg-options', *options] if options else []
        call_tool('compare', *(tiny[name] for name in names), *flags)

    return call


@pytest.fixture(scope='module')
def compared(tiny, work_dir, forked, root):
    """What is printed while two configs are compared, and a third fails."""
    completed = forked(
        *(root / 'tools' / 'compare.py', *tiny.values(), '--seeds', 0, '--jobs', 2),
        *('--work-dir', work_dir),
        check=False,
    )
    assert completed.returncode == 1
    return completed


def test_every_run_ends_in_a_row_of_the_table(compared, work_dir):
    lines = (work_dir / 'compare.md').read_text().splitlines()
    assert [line.split('|')[1].strip() for line in lines[2:]] == ['plain', 'bss']
    rows = json.loads((work_dir / 'compare.json').read_text())
    assert '<svg' in (work_dir / 'compare.svg').read_text()
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
    table = (work_dir / 'compare.md').read_text()
    call('plain', 'bss')
    assert (work_dir / 'compare.md').read_text() == table
    assert table in capsys.readouterr().out


def test_an_interrupted_run_goes_on_from_its_checkpoint(call, compared, work_dir):
    folder = work_dir / 'plain' / 'seed_0'
    result = json.loads((folder / 'run.json').read_text())
    (folder / 'run.json').write_text(json.dumps({k: result[k] for k in ('seed', 'digest')}))
    first = (folder / 'output.log').read_text()
    before = json.loads((work_dir / 'compare.json').read_text())
    call('plain', 'bss')
    added = (folder / 'output.log').read_text().removeprefix(first)
    assert 'resumed epoch: 1' in added
    assert 'Epoch(train)' not in added
    again = json.loads((folder / 'run.json').read_text())
    after = json.loads((work_dir / 'compare.json').read_text())
    assert [row['values'] for row in after] == [row['values'] for row in before]
    assert again['seconds'] > 1, 'the time before the interruption counts'


def test_the_result_of_a_changed_config_is_refused(call, untouched, tiny):
    before = tiny['bss'].read_text()
    tiny['bss'].write_text(before.replace('lr=0.05', 'lr=0.01'))
    try:
        assert tiny['bss'].read_text() != before
        with pytest.raises(SystemExit, match=r'^error: .*belongs to another version of .*bss\.py'):
            call('plain', 'bss')
    finally:
        tiny['bss'].write_text(before)


def test_the_result_of_other_options_is_refused(call, untouched):
    with pytest.raises(SystemExit, match=r'^error: .*other --cfg-options'):
        call('plain', options=['optim_wrapper.optimizer.lr=0.2'])


def test_a_teacher_that_fails_ends_with_one_clear_message(call_tool, tiny, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r'^error: lost, seed 0: .*no such file'):
        call_tool('compare', tiny['bss'], '--teacher', tiny['lost'])


def test_two_runs_of_one_name_are_refused_before_any_starts(call_tool, tiny, tmp_path):
    work_dir = tmp_path / 'runs'
    for configs, seeds in (([tiny['plain']] * 2, [0]), ([tiny['plain']], [0, 0])):
        with pytest.raises(SystemExit, match='two runs are called plain, seed 0'):
            call_tool('compare', *configs, '--seeds', *seeds, '--work-dir', work_dir)
    with pytest.raises(SystemExit, match=r"no config file 'nope\.py'"):
        call_tool('compare', tiny['plain'], 'nope.py', '--work-dir', work_dir)
    assert not work_dir.exists()
