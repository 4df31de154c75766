import json

import pytest

from mmbss.engine.errors import ConfigError
from mmbss.report.run_logs import read_run
from mmbss.report.runs import Run


@pytest.fixture
def run(tmp_path):
    (tmp_path / 'base.py').write_text('lr = 0.1\n')
    (tmp_path / 'child.py').write_text("_base_ = './base.py'\n")
    return Run(str(tmp_path / 'child.py'), 0, tmp_path)


def store(run, **info):
    (run.folder / 'run.json').write_text(json.dumps(dict(info, digest=run.digest())))


def test_the_digest_sees_inherited_settings(run, tmp_path):
    before = run.digest()
    (tmp_path / 'base.py').write_text('lr = 0.2\n')
    assert run.digest() != before


def test_the_digest_sees_the_weights_of_the_teacher(run, tmp_path):
    teacher = tmp_path / 'teacher.pth'
    teacher.write_bytes(b'a')
    (tmp_path / 'base.py').write_text(f'model = dict(teacher=dict(checkpoint={str(teacher)!r}))\n')
    before = run.digest()
    teacher.write_bytes(b'b')
    assert run.digest() != before


def test_a_run_is_done_when_it_has_come_to_its_end(run):
    assert not run.is_done()
    store(run)
    assert not run.is_done()
    store(run, seconds=1.0)
    assert run.is_done()


def test_the_result_of_another_config_is_refused(run, tmp_path):
    store(run, seconds=1.0)
    (tmp_path / 'base.py').write_text('lr = 0.2\n')
    with pytest.raises(ConfigError, match='belongs to another version'):
        run.is_done()


def test_the_last_epoch_counts_and_not_the_best(tmp_path):
    records = [
        *({'step': step, 'lr': 0.1, 'time': 0.02, 'iter': step} for step in range(4)),
        {'step': 1, 'accuracy/top1': 80.0},
        {'step': 2, 'accuracy/top1': 95.0},
    ]
    for start, lines in (('1', records), ('2', [{'step': 3, 'accuracy/top1': 85.0}])):
        folder = tmp_path / start / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
        (folder / 'config.py').write_text('')
    assert read_run(tmp_path).last_value('accuracy/top1') == 85.0
