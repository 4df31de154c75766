"""A student that two processes share, each with a part of its weights."""

import copy

import pytest
import torch
from mmengine._strategy.fsdp import FSDPStrategy
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmbss.engine.config_checks import build_runner
from mmbss.engine.config_checks.building import faults
from mmbss.engine.fsdp import PlainFSDPStrategy
from mmbss.engine.trial import try_training

# no BatchNorm, whose statistics are those of a process
STUDENT = dict(
    type='ImageClassifier',
    backbone=dict(type='mmbss.MLP', in_features=64, hidden=(32,)),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32),
)


@pytest.fixture
def config(bss_settings, boundary_config, tmp_path):
    """Nine epochs of six iterations of BSS on all base samples, without randomness."""
    config = Config(bss_settings(tmp_path / 'one', epochs=9))
    config.train_cfg.val_interval = config.default_hooks.checkpoint.interval = 4
    config.model = dict(
        STUDENT,
        type='mmbss.BSSDistiller',
        teacher=config.model.teacher,
        losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=3.0)),
        boundary=boundary_config(
            base_samples='all', target_class='second_most_probable', train_on='all'
        ),
    )
    config.custom_hooks[0].schedules.loss_bss.until = 1.0
    config.default_hooks.checkpoint.type = 'mmbss.AtomicCheckpointHook'
    return config


def divided(config, folder, **changes):
    """Config of a run that two processes share."""
    config = copy.deepcopy(config)
    config.merge_from_dict(changes)
    config.update(launcher='pytorch', runner_type='mmbss.FSDPRunner', work_dir=str(folder))
    config.train_dataloader.batch_size //= 2
    config.experiment_name = folder.name
    return config


def train(rank, config, folder):
    """Train, and tell the numbers of base samples and of weights that a process had."""
    runner = build_runner(config)
    try_training(runner)
    runner.train()
    found = dict(
        samples=runner.message_hub.get_scalar('train/bss_samples').data[0].tolist(),
        weights=sum(parameter.numel() for parameter in runner.model.parameters()),
        teacher=sum(parameter.numel() for parameter in runner.model.module.teacher.parameters()),
    )
    torch.save(found, folder / f'{rank}.pth')


def assert_same_weights(first, second, **tolerance):
    one, other = (torch.load(path)['state_dict'] for path in (first, second))
    assert list(one) == list(other)
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, **tolerance)


def test_two_processes_share_a_student_and_train_it_like_one(
    config, in_two_processes, build_model, tmp_path
):
    runner = build_runner(config)
    runner.train()
    in_two_processes(train, divided(config, tmp_path / 'two'), tmp_path)
    end = tmp_path / 'two' / 'epoch_9.pth'
    assert_same_weights(tmp_path / 'one' / 'epoch_9.pth', end, atol=1e-5, rtol=1e-4)
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1))
    assert len(first['samples']) == 54
    # also where one of them has no boundary sample to learn
    pairs = zip(first['samples'], second['samples'], strict=True)
    assert any(min(pair) == 0 < max(pair) for pair in pairs)
    student = build_model(STUDENT)
    whole = sum(parameter.numel() for parameter in student.parameters())
    assert whole <= first['weights'] + second['weights'] <= whole + 1  # divided evenly
    teacher = sum(parameter.numel() for parameter in runner.model.teacher.parameters())
    assert first['teacher'] == second['teacher'] == teacher
    student.load_state_dict(torch.load(end)['state_dict'])

    # the same two go on from the middle, and so does one alone
    middle = tmp_path / 'two' / 'epoch_4.pth'
    meta = torch.load(middle)['meta']
    assert (meta['epoch'], meta['iter']) == (4, 24)  # stored once more after its validation
    config.update(resume=True, load_from=str(middle))
    in_two_processes(train, divided(config, tmp_path / 'again'), tmp_path)
    assert_same_weights(end, tmp_path / 'again' / 'epoch_9.pth', atol=0, rtol=0)
    build_runner(config).train()
    assert_same_weights(end, tmp_path / 'one' / 'epoch_9.pth', atol=1e-5, rtol=1e-4)


@pytest.fixture
def alone(tmp_path):
    """A process group of one."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/alone', rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


HINT = dict(
    type='mmbss.HintLoss',
    student='backbone.layers.0',
    teacher='neck',
    student_channels=32,
    teacher_channels=32,
)


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        ({'optim_wrapper.clip_grad': dict(max_norm=1.0)}, r'optim_wrapper\.clip_grad\.max_norm'),
        ({'optim_wrapper.accumulative_counts': 2}, r'optim_wrapper\.accumulative_counts'),
        ({'custom_hooks': [dict(type='EMAHook')]}, 'EMAHook'),
        ({'custom_hooks': [dict(type='mmbss.MaxNormHook')]}, 'MaxNormHook'),
        ({'model.losses.loss_hint': HINT}, r'model\.losses\.loss_hint'),
        (
            {'strategy.model_wrapper.auto_wrap_policy': dict(type='any')},
            r'strategy\.model_wrapper\.auto_wrap_policy',
        ),
    ],
)
def test_what_needs_undivided_weights_is_refused(alone, config, tmp_path, changes, named):
    config = divided(config, tmp_path / 'two', **changes)
    config.launcher = 'none'
    with pytest.raises(ValueError, match=f'^{named}'):
        build_runner(config)


def test_one_process_has_nobody_to_share_with(config, tmp_path):
    config = divided(config, tmp_path / 'two')
    config.launcher = 'none'
    with pytest.raises(ValueError, match=r'tools/launch\.py'):
        build_runner(config)


def test_the_teacher_goes_to_the_device_of_the_student(monkeypatch):
    monkeypatch.setattr('mmbss.engine.fsdp.get_device', lambda: 'meta')
    monkeypatch.setattr(FSDPStrategy, '_wrap_model', lambda self, model: model)
    student = torch.nn.Linear(2, 2)
    student.__dict__['teacher'] = torch.nn.Linear(2, 2)  # as that of a distiller, no part of it
    assert PlainFSDPStrategy()._wrap_model(student) is student
    assert student.teacher.weight.device.type == 'meta'


class ScalingWrapper(OptimWrapper):
    """What mmengine's ``AmpOptimWrapper``, which refuses a CPU, does of its state."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.loss_scaler = torch.amp.GradScaler('cpu')

    def state_dict(self):
        return dict(super().state_dict(), loss_scaler=self.loss_scaler.state_dict())

    load_state_dict = AmpOptimWrapper.load_state_dict


def test_the_loss_scale_of_mixed_precision_is_stored_and_goes_on(alone, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    strategy = PlainFSDPStrategy()
    strategy.model = strategy._wrap_model(torch.nn.Linear(2, 2))
    sgd = torch.optim.SGD(strategy.model.parameters(), lr=0.1)
    strategy.optim_wrapper = ScalingWrapper(sgd)
    strategy.optim_wrapper.loss_scaler.load_state_dict(
        dict(strategy.optim_wrapper.loss_scaler.state_dict(), scale=8.0)
    )
    stored = strategy.optim_state_dict()
    strategy.optim_wrapper = ScalingWrapper(sgd)
    assert strategy.optim_wrapper.loss_scaler.get_scale() > 8
    strategy.load_optim_state_dict(stored)
    assert strategy.optim_wrapper.loss_scaler.get_scale() == 8


def look_for_faults_alone(rank, config):
    """One process has failed, and looks for what else is wrong, and the other has not."""
    if rank == 0:
        faults(config)
    summed = torch.ones(1)
    torch.distributed.all_reduce(summed)
    assert summed == 2


def test_a_process_that_has_failed_does_not_wait_for_the_others(config, in_two_processes):
    in_two_processes(look_for_faults_alone, config)
