import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from mmengine.config import Config

from mmbss.engine.config_checks.building import complete
from mmbss.engine.default_hooks import add_safety_hooks
from mmbss.engine.errors import ConfigError
from mmbss.studies import starting_files
from mmbss.studies.runs import Run, wait_for
from mmbss.studies.settings import what_counts


@pytest.fixture
def make(tmp_path):
    (tmp_path / 'base.py').write_text('model = dict(lr=0.1)\n')
    (tmp_path / 'child.py').write_text("_base_ = './base.py'\n")

    def make(seed=0, **options):
        return Run('child', str(tmp_path / 'child.py'), seed, tmp_path / 'run', options)

    return make


@pytest.fixture
def finished(make):
    """Write what a training leaves behind, from the config of a run."""

    def finished(run, change=lambda cfg: None, **info):
        logs = run.folder / '20260101_000000' / 'vis_data'
        shutil.rmtree(run.folder, ignore_errors=True)
        logs.mkdir(parents=True)
        cfg = Config.fromfile(run.config)
        cfg.merge_from_dict({'randomness.seed': run.seed, **run.options})
        cfg.merge_from_dict(dict(work_dir='elsewhere', launcher='none', resume=True))
        add_safety_hooks(cfg)
        change(cfg)
        cfg.dump(str(logs / 'config.py'))
        (logs / 'scalars.json').write_text(json.dumps({'step': 1, 'accuracy/top1': 80.0}))
        (run.folder / 'run.json').write_text(json.dumps(info))
        return run

    return finished


def test_the_digest_sees_inherited_settings_and_options_but_not_the_seed(make, tmp_path):
    before = make().digest
    assert make(seed=1).digest == before
    assert make(**{'model.lr': 0.2}).digest != before
    (tmp_path / 'base.py').write_text('model = dict(lr=0.2)\n')
    assert make().digest != before
    assert make().digest == make(**{'model.lr': 0.2}).digest


def test_a_run_is_done_when_it_has_come_to_its_end(make, finished):
    assert not make().is_done()
    assert not finished(make()).is_done()
    assert finished(make(), seconds=1.0).is_done()


def test_what_the_tools_add_to_a_config_does_not_count(make, finished):
    assert [*what_counts(make().merged)['default_hooks']] == ['checkpoint']
    loader = {'train_dataloader.batch_size': 8, 'default_hooks.checkpoint.type': 'CheckpointHook'}
    assert finished(make(**loader), seconds=1.0).is_done()


LAZY = """
from mmengine.hooks import EMAHook
from torch.optim import SGD
optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1))
custom_hooks = [dict(type=EMAHook)]
"""


@pytest.mark.parametrize(
    'config',
    [
        *('model = dict(lr=0.1)', 'default_scope = None'),
        'train_cfg = dict(by_epoch=False, max_iters=3)',
        "train_cfg = dict(max_iters=3)\ndefault_hooks = dict(logger=dict(type='LoggerHook'))",
        LAZY,
    ],
    ids=['no scope', 'none', 'by iteration', 'its logger', 'lazy'],
)
def test_what_a_training_completes_does_not_count(config, finished, tmp_path):
    (tmp_path / 'own.py').write_text(config)
    run = Run('own', str(tmp_path / 'own.py'), 0, tmp_path / 'run')
    assert finished(run, complete, seconds=1.0).is_done()
    (tmp_path / 'own.py').write_text(f'{config}\nval_cfg = dict(fp16=True)')
    with pytest.raises(ConfigError, match='val_cfg'):
        replace(run).is_done()


def test_a_safety_hook_that_is_left_out_or_changed_counts(make, finished):
    without = make(**{'default_hooks.step_seed': None})
    changed = make(**{'default_hooks.step_seed.priority': 30})
    assert len({without.digest, changed.digest, make().digest}) == 3
    assert finished(without, seconds=1.0).is_done()
    with pytest.raises(ConfigError, match=r'default_hooks\.step_seed is None there'):
        changed.is_done()
    finished(make(), seconds=1.0)
    for other in (changed, without):
        with pytest.raises(ConfigError, match=r'default_hooks\.step_seed is missing there'):
            other.is_done()


def test_a_training_that_is_older_than_a_safety_hook_is_accepted(make, finished):
    def older(cfg):
        cfg.default_hooks.pop('finite_loss')

    assert finished(make(), older, seconds=1.0).is_done()


@pytest.mark.parametrize(
    ('other', 'named'), [(dict(seed=1), 'randomness.seed'), ({'model.lr': 0.2}, 'model.lr')]
)
def test_the_training_of_another_config_is_refused(make, finished, other, named):
    finished(make(), seconds=1.0)
    with pytest.raises(ConfigError, match=rf'another version.*{named} is 0.*there.*--rerun'):
        make(**other).is_done()


def test_the_training_with_another_teacher_is_refused(make, finished, tmp_path):
    teacher = tmp_path / 'teacher.pth'
    teacher.write_bytes(b'a')
    options = {'model.teacher.checkpoint': str(teacher)}
    run = finished(make(**options), seconds=1.0, teacher=make(**options).teacher)
    assert run.is_done()
    teacher.write_bytes(b'b')
    with pytest.raises(ConfigError, match="the teacher's checkpoint"):
        run.is_done()
    teacher.unlink()
    assert run.is_done(), 'it may be gone by now'


def test_a_teacher_is_known_by_its_config_too(make, finished, tmp_path):
    teacher, config = tmp_path / 'teacher.pth', tmp_path / 'teacher.py'
    teacher.write_bytes(b'a')

    def asked(mean, name='teacher.py'):
        (tmp_path / name).write_text(f'model = dict(data_preprocessor=dict(mean={mean}))')
        options = {'model.teacher.checkpoint': str(teacher)}
        return make(**options, **{'model.teacher.config': str(tmp_path / name)})

    run = finished(asked(0.0), seconds=1.0, teacher=asked(0.0).teacher)
    weights = run.teacher.partition('-')[0]
    assert run.is_done()
    assert asked(0.0, 'same.py').teacher == run.teacher != asked(1.0, 'other.py').teacher
    (run.folder / 'run.json').write_text(json.dumps(dict(seconds=1.0, teacher=weights + '-other')))
    with pytest.raises(ConfigError, match=r"the teacher's (checkpoint|config) has changed"):
        run.is_done()
    (run.folder / 'run.json').write_text(json.dumps(dict(seconds=1.0, teacher=weights)))
    assert run.is_done(), 'an older one knows the weights alone'
    config.unlink()


def test_several_teachers_are_known_by_the_files_of_all(make, tmp_path):
    files = [tmp_path / 'a.onnx', tmp_path / 'b.pth']
    for file in files:
        file.write_bytes(b'a')
    members = [dict(config=str(files[0])), dict(config='timm:resnet18', checkpoint=str(files[1]))]
    run = make()
    run.merged.model.teacher = dict(config=members * 4)  # longer than the name of a file may be
    before = run.teacher
    files[1].write_bytes(b'b')
    assert None is not run.teacher != before


START = dict(init_cfg=dict(type='Pretrained', checkpoint='w.pth'))
STARTS = [dict(type='Normal'), dict(type='Pretrained', checkpoint='w.pth')]


@pytest.mark.parametrize(
    'model',
    [
        dict(teacher=dict(config='t.py')),
        dict(teacher=dict(config='neck.py')),
        dict(teacher=dict(config=dict(type='A', pretrained='w.pth'))),
        dict(teacher=dict(config=dict(type='A', backbone=START))),
        dict(teacher=dict(config=[dict(config='t.py'), dict(config=dict(type='A'))])),
        dict(teacher=dict(config='python:a:B', arguments=dict(files=['w.pth', 3, 'C' * 300]))),
        START,
        dict(backbone=dict(init_cfg=STARTS), teacher=dict(config=dict(), checkpoint='of_it.pth')),
        dict(pretrained='w.pth'),
    ],
)
def test_a_run_is_known_by_all_files_that_it_starts_from(
    model, make, finished, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / 'w.pth'
    weights.write_bytes(b'a')
    (tmp_path / 'of_it.pth').write_bytes(b'a')
    (tmp_path / 't.py').write_text("model = dict(type='A', pretrained='w.pth')")
    (tmp_path / 'neck.py').write_text(f"model = dict(type='A', neck=dict({START}))")
    run = make(model=model)
    starting_files._model_of.cache_clear()
    finished(run, seconds=1.0, teacher=run.teacher)
    assert run.is_done()
    weights.write_bytes(b'b')
    with pytest.raises(
        ConfigError, match=r"the weights that the student|another file of the teacher's"
    ):
        run.is_done()
    weights.unlink()
    assert run.is_done(), 'it may be gone by now'
    weights.write_bytes(b'b')
    (run.folder / 'run.json').write_text(json.dumps(dict(seconds=1.0, teacher=None)))
    assert run.is_done(), 'an older one knew nothing of it'


@pytest.mark.parametrize('checkpoint', [None, 'https://example.org/t.pth', 'gone.pth'])
def test_a_teacher_without_a_file_of_weights_is_known_by_its_config(
    checkpoint, make, finished, tmp_path
):
    config = tmp_path / 't.py'
    config.write_text("model = dict(type='A')\n")
    teacher = dict(config=str(config), checkpoint=checkpoint)
    run = make(**{f'model.teacher.{key}': value for key, value in teacher.items()})
    finished(run, seconds=1.0, teacher=run.teacher)
    for stored in (run.teacher, 'a1', f'a1{run.teacher}', None):
        (run.folder / 'run.json').write_text(json.dumps(dict(seconds=1.0, teacher=stored)))
        assert run.is_done()
    (run.folder / 'run.json').write_text(json.dumps(dict(seconds=1.0, teacher=run.teacher)))
    with config.open('a') as file:
        file.write('data_preprocessor = dict(mean=[0.0])\n')
    starting_files._model_of.cache_clear()  # of another call
    with pytest.raises(ConfigError, match=r"the teacher's (checkpoint|config) has changed"):
        run.is_done()


def test_a_run_that_names_no_teacher_is_judged_by_its_config(make, finished, tmp_path):
    teacher = tmp_path / 'teacher.pth'
    teacher.write_bytes(b'a')
    assert finished(make(**{'model.teacher.checkpoint': str(teacher)}), seconds=1.0).is_done()


@pytest.mark.parametrize(
    'value', [1e-7, True, None, 'None', 'a b', (1,), [[1, 2], [3]], [dict(type='A', b=1)]]
)
def test_options_reach_the_training_as_they_are_and_in_their_order(make, monkeypatch, value):
    monkeypatch.setattr(Run, 'call', lambda run, *args: None)
    run = make(**{'model.x': value, 'model.a': 0, 'default_hooks.step_seed': None})
    run.train(Path('train.py'), threads=1)
    trained = Config.fromfile(run.folder / 'child.py')
    assert (trained.model.x, type(trained.model.x)) == (value, type(value))
    assert [*trained.model] == ['lr', 'x', 'a']
    assert (trained.work_dir, trained.default_hooks) == (str(run.folder), dict(step_seed=None))


@pytest.mark.parametrize('value', ["float('inf')", 'dict', '[dict(x=set)]'])
def test_what_cannot_be_read_again_is_refused(make, tmp_path, value):
    (tmp_path / 'base.py').write_text(f'model = dict(lr=0.1, bound={value})\n')
    with pytest.raises(ConfigError, match=r'model\.bound.*=.* cannot be read again'):
        make().written()


def test_a_number_of_numpy_is_written_as_one(make, tmp_path):
    (tmp_path / 'base.py').write_text("model = dict(lr=[__import__('numpy').sqrt(0.25)])\n")
    assert 'model = dict(lr=[0.5])' in make().written()


def test_a_folder_in_use_is_waited_for(tmp_path, capsys):
    with FileLock(tmp_path / '.lock'):
        waiting = threading.Thread(target=wait_for, args=(tmp_path,))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()
    assert 'waiting' in capsys.readouterr().out
