"""What is stored, compared and refused before anything is trained; trainings are left out."""

import json
from dataclasses import replace

import pytest
from filelock import FileLock
from torch import nn

from mmbss.distil import distil as steps
from mmbss.distil.distil import distil
from mmbss.distil.job import Request
from mmbss.distil.methods import METHODS
from mmbss.distil.plan import TEACHER, Costs
from mmbss.distil.timing import Cost
from mmbss.engine.errors import ConfigError
from mmbss.teachers.sources import Source

COSTS = Costs({**dict.fromkeys(METHODS, Cost(5.0, 0.5, 0.1)), TEACHER: Cost(5.0, 1.0, 0.1)})


@pytest.fixture
def call(monkeypatch, write_images, tmp_path):
    """Call all but measuring and training; gives what was measured, and carried out."""
    measured, carried = [], []
    monkeypatch.setattr(steps, 'measure_all', lambda job, _: measured.append(job.methods) or COSTS)
    monkeypatch.setattr(steps, 'carry_out', lambda job, plan, *_: carried.append(plan) or 'done')
    request = Request(write_images({'a': 10, 'b': 10}), tmp_path / 'work', settings=1)

    def call(rerun=False, plan_only=False, **changes):
        return distil(replace(request, **changes), tmp_path, 'distil', 1.0, rerun, plan_only)

    call.measured, call.carried, call.request = measured, carried, request
    return call


def test_a_plan_writes_nothing(call, capsys):
    assert call(plan_only=True) is None
    assert not call.request.work_dir.exists()
    assert call.carried == []
    assert 'plan: 7 runs' in capsys.readouterr().out


def test_the_second_call_goes_on_with_the_first_plan(call):
    assert call() == 'done'
    assert call(minutes=1000.0) == 'done'
    assert len(call.measured) == 1
    assert call.carried[0] == call.carried[1]


@pytest.mark.parametrize('part', ['plan', 'costs'])
def test_a_plan_of_another_version_is_refused(call, part):
    call()
    path = call.request.work_dir / 'distil.json'
    state = json.loads(path.read_text())
    state[part] = dict(methods={}, teacher=None)
    path.write_text(json.dumps(state))
    with pytest.raises(ConfigError, match='another version'):
        call()


def test_configs_are_left_as_they_are(call):
    call()
    path = call.request.work_dir / 'configs' / 'labels.py'
    path.write_text('# by hand\n')
    call()
    assert path.read_text() == '# by hand\n'


@pytest.mark.parametrize(
    ('key', 'value'), [('student', 'resnet20'), ('seed', 1), ('methods', ('labels', 'kd'))]
)
def test_other_arguments_are_refused_or_begin_anew(call, key, value):
    call()
    with pytest.raises(ConfigError, match=key):
        call(**{key: value})
    call(rerun=True, **{key: value})
    work_dir = call.request.work_dir
    assert work_dir.with_name('replaced_0_work').is_dir()
    stored = json.loads((work_dir / 'distil.json').read_text())
    assert stored['arguments'][key] in (value, [*value] if key == 'methods' else value)


def test_a_plan_puts_nothing_aside(call):
    call()
    call(rerun=True, plan_only=True)
    with pytest.raises(ConfigError, match='images'):
        call(rerun=True, images=call.request.images / 'a')
    assert (call.request.work_dir / 'distil.json').is_file()


def test_a_call_that_died_while_it_wrote_configs(call, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(steps, 'write_configs', fail)
        with pytest.raises(KeyboardInterrupt):
            call()
    assert call() == 'done'
    assert (call.request.work_dir / 'configs' / 'labels.py').is_file()


def test_other_images_are_refused(call, make_picture):
    call()
    make_picture(99).save(call.request.images / 'a' / 'new.png')
    with pytest.raises(ConfigError, match='train 12, now it is 13'):
        call()


def test_other_weights_under_the_same_name_are_refused(call, tmp_path):
    weights = tmp_path / 'weights.pth'
    weights.write_bytes(b'one')
    call(student_checkpoint=str(weights))
    assert call(student_checkpoint=str(weights)) == 'done'
    weights.write_bytes(b'other')
    with pytest.raises(ConfigError, match=r'weights\.pth'):
        call(student_checkpoint=str(weights))


def test_a_work_dir_in_use_is_neither_used_nor_put_aside(call):
    call()
    # as another process would hold it
    with FileLock(call.request.work_dir / '.lock'):
        for rerun in (False, True):
            with pytest.raises(ConfigError, match='is in use by'):
                call(rerun=rerun)
    assert call(rerun=True) == 'done'


def test_numbers_are_said_as_they_will_be(call, capsys):
    call(plan_only=True, batch_size=1000, epochs=1)
    said = capsys.readouterr().out
    assert 'runs of 1 epoch of 1 step,' in said
    assert '--batch-size 1000: all 12 training images' in said
    call(plan_only=True, batch_size=12)
    assert '--batch-size' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('minutes', 0.0),
        ('epochs', 0),
        ('settings', 0),
        ('size', 4),
        ('batch_size', 1),
        ('seed', -1),
        ('seed', 2**32),
    ],
)
def test_numbers_that_are_none(call, key, value):
    with pytest.raises(ConfigError, match=key):
        call(**{key: value})
    assert call.measured == []


def test_a_teacher_without_gradient(call, monkeypatch):
    source = Source(nn.Identity(), num_classes=2, differentiable=False)
    monkeypatch.setattr('mmbss.distil.teachers.load_source', lambda *args: source)
    call(teacher='onnx:a.onnx')
    assert call.measured == [[name for name in METHODS if name != 'bss']]
    with pytest.raises(ConfigError, match='bss'):
        call(teacher='onnx:a.onnx', methods=('bss',), work_dir=call.request.work_dir / 'b')


def test_a_config_of_the_student_that_has_changed_is_refused(
    call, tmp_path, write_config, resnet_config
):
    student = str(tmp_path / 'student.py')
    for width in (2, 3):
        write_config(student, dict(model=resnet_config(width=width, in_channels=3)))
        if width == 2:
            call(student=student)
            assert call(student=student) == 'done'
    with pytest.raises(ConfigError, match=r'was begun with student '):
        call(student=student)


def test_a_second_call_leaves_the_plan_of_the_first_alone(call, monkeypatch):
    plans = []

    def measure(job, _):  # while another call makes its plan, and trains
        if not plans:
            plans.append(1)
            call(epochs=3)
        return COSTS

    monkeypatch.setattr(steps, 'measure_all', measure)
    with pytest.raises(ConfigError, match='another call has made a plan'):
        call(epochs=5)
    state = json.loads((call.request.work_dir / 'distil.json').read_text())
    assert state['arguments']['epochs'] == 3
    assert state['plan']['epochs'] == 3
