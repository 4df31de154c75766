import math

import pytest
import torch
from mmengine.hooks import Hook

from mmbss.hooks import BSSHook, LinearSchedule

PUBLISHED = dict(loss_kd=dict(start=4.0, end=1.0), loss_bss=dict(start=2.0, end=0.0, until=0.75))


# ---------------------------------------------------------------- the schedule


@pytest.mark.parametrize('epochs', [4, 8, 20, 80, 200])
def test_published_schedules_are_the_written_formulas(epochs):
    alpha, beta = LinearSchedule(4.0, 1.0), LinearSchedule(2.0, 0.0, until=0.75)
    for epoch in range(epochs):
        progress = epoch / epochs
        assert alpha.at(progress) == pytest.approx(1 + 3 * (1 - epoch / epochs))
        written = max(2 * (1 - 4 * epoch / (3 * epochs)), 0)
        assert beta.at(progress) == pytest.approx(written, abs=1e-12)


@pytest.mark.parametrize('epochs', [4, 8, 20, 80, 200])
def test_ends_are_exact(epochs):
    alpha, beta = LinearSchedule(4.0, 1.0), LinearSchedule(2.0, 0.0, until=0.75)
    assert alpha.at(0.0) == 4.0
    assert alpha.at(1.0) == 1.0
    assert beta.at(0.0) == 2.0
    assert beta.at((3 * epochs // 4 - 1) / epochs) > 0
    assert all(beta.at(epoch / epochs) == 0 for epoch in range(3 * epochs // 4, epochs + 1))


@pytest.mark.parametrize('tenths', range(1, 11))
def test_the_end_is_exact_wherever_it_is_said_to_be(tenths):
    schedule = LinearSchedule(0.3, 0.1, until=tenths / 10)
    for epochs in (10, 30, 70):
        assert schedule.at(tenths * epochs // 10 / epochs) == 0.1


def test_weights_may_rise():
    schedule = LinearSchedule(0.0, 1.0, until=0.5)
    assert [schedule.at(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    'values',
    [
        dict(start=-1.0, end=0.0),
        dict(start=1.0, end=-0.1),
        dict(start=1.0, end=0.0, until=0.0),
        dict(start=1.0, end=0.0, until=1.5),
        dict(start=math.nan, end=0.0),
        dict(start=1.0, end=math.nan),
        dict(start=1.0, end=0.0, until=math.nan),
    ],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match='LinearSchedule'):
        LinearSchedule(**values)


@pytest.mark.parametrize(
    ('schedule', 'message'),
    [
        (
            dict(start=1.0, end=0.0, util=0.5),
            "schedule of loss_kd has no key 'util', did you mean 'until'",
        ),
        (dict(start=1.0), "schedule of loss_kd lacks 'end'"),
        (dict(begin=1.0, end=0.0), "no key 'begin'.*\nBSSHook: .* lacks 'start'"),
        (dict(), "lacks 'start', 'end'"),
        (4.0, 'must be a dict'),
        (dict(start='4.0', end=1.0), 'start must be float'),
        (dict(start=True, end=1.0), 'start must be float'),
        (dict(start=math.inf, end=1.0), 'start must be finite'),
    ],
)
def test_unknown_and_missing_keys_are_named(schedule, message):
    with pytest.raises(ValueError, match=message):
        BSSHook(schedules=dict(loss_kd=schedule))


# ---------------------------------------------------------------- in a real run


class Weights(Hook):
    """Record the weights with which each batch is trained, and what is logged."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []
        self.logged = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        losses = runner.model.loss_modules
        self.seen.append((runner.epoch, *(losses[name].loss_weight for name in PUBLISHED)))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.logged.append(
            tuple(
                runner.message_hub.get_scalar(f'train/weight_{name}').current()
                for name in ('kd', 'bss')
            )
        )


@pytest.fixture
def distiller_config(digits_teacher, resnet_config, boundary_config):
    return dict(
        resnet_config(),
        type='mmbss.Distiller',
        teacher=digits_teacher,
        losses=dict(loss_kd=dict(type='mmbss.KDLoss', loss_weight=9.0), loss_bss=boundary_config()),
    )


@pytest.fixture
def train(make_runner, distiller_config):
    """Train with the published schedules; gives the recording hook and the runner."""

    def train(by_epoch=True, **settings):
        hook = dict(type='mmbss.BSSHook', schedules=PUBLISHED, by_epoch=by_epoch)
        runner = make_runner(distiller_config, custom_hooks=[hook], **settings)
        weights = Weights()
        runner.register_hook(weights)
        runner.train()
        return weights, runner

    return train


def test_weights_are_right_in_every_epoch(train):
    weights, _ = train(epochs=4)
    expected = [(0, 4.0, 2.0), (1, 3.25, 4 / 3), (2, 2.5, 2 / 3), (3, 1.75, 0.0)]
    assert len(weights.seen) == 4 * 6
    for step, seen in enumerate(weights.seen):
        assert seen == pytest.approx(expected[step // 6])
    assert weights.seen[-1][2] == 0.0


def test_a_loss_that_another_hook_brings_has_its_weight_at_once(make_runner, distiller_config):
    brought = dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=10, loss_weight=7.0)
    hooks = [
        dict(type='mmbss.BSSHook', schedules=dict(loss_cls=dict(start=0.5, end=0.1))),
        dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=2, loss=brought)]),
    ]
    runner = make_runner(distiller_config, custom_hooks=hooks, epochs=2)
    seen = []
    record = Weights()
    record.before_train_iter = lambda runner, *args, **kwargs: seen.append(
        runner.model.loss_modules['loss_cls'].loss_weight
    )
    record.after_train_iter = lambda *args, **kwargs: None
    runner.register_hook(record)
    runner.train()
    assert seen == pytest.approx([0.5] * 6 + [0.3] * 6)
    assert type(runner.model.head.loss_module).__name__ == 'LabelSmoothLoss'


def test_weights_are_logged_as_they_were_used(train):
    weights, runner = train(epochs=4)
    assert weights.logged == [seen[1:] for seen in weights.seen]
    assert not any('loss' in key for key in runner.message_hub.log_scalars if 'weight' in key)


def test_weights_are_right_after_a_resume(train, tmp_path):
    whole, _ = train(epochs=4, work_dir=tmp_path / 'whole')
    checkpoint = tmp_path / 'whole' / 'epoch_2.pth'
    resumed, runner = train(
        epochs=4, work_dir=tmp_path / 'resumed', load_from=str(checkpoint), resume=True
    )
    assert resumed.seen == whole.seen[12:]
    assert resumed.logged == whole.logged[12:]
    assert runner.epoch == 4


def test_a_resume_restores_epoch_optimizer_and_learning_rate(train, tmp_path):
    _, whole = train(epochs=4, work_dir=tmp_path / 'whole')
    checkpoint = torch.load(tmp_path / 'whole' / 'epoch_2.pth')
    assert checkpoint['meta']['epoch'] == 2
    assert all('momentum_buffer' in state for state in checkpoint['optimizer']['state'].values())
    _, resumed = train(
        epochs=4,
        work_dir=tmp_path / 'resumed',
        load_from=str(tmp_path / 'whole' / 'epoch_2.pth'),
        resume=True,
    )
    assert resumed.iter == whole.iter == 24
    assert resumed.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()


@pytest.mark.parametrize('loop', ['IterBasedTrainLoop', 'EpochBasedTrainLoop'])
def test_by_iteration_weights_change_with_every_batch(train, loop):
    settings = dict(epochs=2)
    if loop == 'IterBasedTrainLoop':
        settings = dict(
            train_cfg=dict(by_epoch=False, max_iters=12),
            param_scheduler=None,
            default_hooks=dict(logger=dict(type='LoggerHook', interval=2)),
        )
    weights, _ = train(by_epoch=False, **settings)
    assert len(weights.seen) == 12
    for step, (_, alpha, beta) in enumerate(weights.seen):
        assert alpha == pytest.approx(4 - 3 * step / 12)
        assert beta == pytest.approx(max(2 - 2 * step / 9, 0))
    assert [beta for _, _, beta in weights.seen[9:]] == [0.0, 0.0, 0.0]


def test_the_classification_loss_can_be_scheduled(make_runner, distiller_config):
    schedules = dict(loss_cls=dict(start=0.5, end=0.0))
    runner = make_runner(
        distiller_config, custom_hooks=[dict(type='mmbss.BSSHook', schedules=schedules)], epochs=2
    )
    runner.train()
    assert runner.model.head.loss_module.loss_weight == 0.25
    assert runner.message_hub.get_scalar('train/weight_cls').current() == 0.25


def test_no_attack_runs_after_its_schedule_has_ended(train, monkeypatch):
    from mmbss.attacks import BSSAttack

    runs = []
    original = BSSAttack.run
    monkeypatch.setattr(BSSAttack, 'run', lambda *args: runs.append(1) or original(*args))
    _, runner = train(epochs=1, train_cfg=dict(by_epoch=True, max_epochs=4))
    losses = runner.message_hub.log_scalars['train/loss_bss'].data[0]
    assert len(losses) == 4 * 6
    assert not losses[3 * 6 :].any(), 'and the log does not repeat the last loss'
    assert 0 < len(runs) <= 3 * 6


# ---------------------------------------------------------------- refused before training


def test_unknown_loss_name_is_refused_with_the_known_ones(make_runner, distiller_config):
    hook = dict(type='mmbss.BSSHook', schedules=dict(loss_hint=dict(start=1.0, end=0.0)))
    runner = make_runner(distiller_config, custom_hooks=[hook])
    with pytest.raises(
        ValueError, match=r"no loss is called \['loss_hint'\].*\['loss_bss', 'loss_cls', 'loss_kd'"
    ):
        runner.train()
    assert runner.iter == 0


def test_model_that_is_no_distiller_is_refused(make_runner, resnet_config):
    hook = dict(type='mmbss.BSSHook', schedules=dict(loss_kd=dict(start=1.0, end=0.0)))
    runner = make_runner(resnet_config(), custom_hooks=[hook])
    with pytest.raises(ValueError, match='needs a distiller, but the model is a ImageClassif'):
        runner.train()


def test_training_by_iteration_with_schedules_by_epoch_is_refused(make_runner, distiller_config):
    hook = dict(type='mmbss.BSSHook', schedules=PUBLISHED)
    runner = make_runner(
        distiller_config,
        custom_hooks=[hook],
        train_cfg=dict(by_epoch=False, max_iters=4),
        param_scheduler=None,
    )
    with pytest.raises(ValueError, match='has no epochs, set by_epoch=False'):
        runner.train()


def test_unknown_keys_are_refused_when_the_runner_is_built(make_runner, distiller_config):
    hook = dict(type='mmbss.BSSHook', schedules=dict(loss_kd=dict(start=1.0, ende=0.0)))
    with pytest.raises(ValueError, match="no key 'ende'"):
        make_runner(distiller_config, custom_hooks=[hook])


# ---------------------------------------------------------------- what the losses learn

HINT = dict(
    type='mmbss.HintLoss',
    student='backbone.layer2',
    teacher='backbone.layer2',
    student_channels=4,
    teacher_channels=16,
)
EMA = dict(type='EMAHook', momentum=0.1)


@pytest.fixture
def hint_config(digits_teacher, resnet_config):
    return dict(
        resnet_config(),
        type='mmbss.Distiller',
        teacher=digits_teacher,
        losses=dict(loss_kd=dict(type='mmbss.KDLoss'), loss_hint=HINT),
    )


@pytest.fixture
def train_hint(make_runner, hint_config, tmp_path):
    """Train with a hint that ends after half of the epochs, and a moving average."""

    def train_hint(folder, hooks=(EMA,), **settings):
        schedules = dict(loss_hint=dict(start=2.0, end=0.0, until=0.75))
        runner = make_runner(
            hint_config,
            custom_hooks=[dict(type='mmbss.BSSHook', schedules=schedules), *hooks],
            work_dir=tmp_path / folder,
            **dict(dict(epochs=4), **settings),
        )
        runner.train()
        return runner

    return train_hint


def regressor(runner):
    return runner.model.terms['loss_hint'].regressor


def test_a_resumed_run_equals_the_whole_one_with_its_regressor(
    train_hint, tmp_path, build_model, resnet_config
):
    whole = train_hint('whole')
    resumed = train_hint('resumed', load_from=str(tmp_path / 'whole' / 'epoch_2.pth'), resume=True)
    assert (resumed.epoch, resumed.iter) == (4, 24)
    first, second, middle = (
        torch.load(tmp_path / name)
        for name in ('whole/epoch_4.pth', 'resumed/epoch_4.pth', 'whole/epoch_2.pth')
    )
    trained = list(middle['distillation_losses']['loss_hint'].values())
    assert not torch.equal(trained[0], regressor(whole).weight), 'it went on training'
    for key in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(second[key][name], value) for name, value in first[key].items())
    for name, value in first['distillation_losses']['loss_hint'].items():
        assert torch.equal(second['distillation_losses']['loss_hint'][name], value)
    buffers = [list(content['optimizer']['state'].values()) for content in (first, second)]
    assert len(buffers[0]) == len(list(whole.model.parameters()))
    for one, other in zip(*buffers, strict=True):
        assert torch.equal(one['momentum_buffer'], other['momentum_buffer'])

    student = build_model(resnet_config())
    keys = list(student.state_dict())
    assert list(first['state_dict']) == keys
    assert [key for key in first['ema_state_dict'] if key != 'steps'] == [
        f'module.{k}' for k in keys
    ]
    student.load_state_dict(first['state_dict'], strict=True)


def test_a_run_starts_from_a_plain_student(train_hint, tmp_path, build_model, resnet_config):
    student = build_model(resnet_config())
    torch.save(dict(state_dict=student.state_dict()), tmp_path / 'student.pth')
    runner = train_hint('from', load_from=str(tmp_path / 'student.pth'), epochs=1)
    assert runner.iter == 6
    # and from the checkpoint of another run with features, whose regressors it does not need
    again = train_hint('again', load_from=str(tmp_path / 'from' / 'epoch_1.pth'), epochs=1)
    assert again.iter == 6


def test_a_resume_without_the_weights_of_the_losses_is_refused(train_hint, tmp_path):
    train_hint('whole', hooks=(), epochs=1)
    checkpoint = torch.load(tmp_path / 'whole' / 'epoch_1.pth')
    del checkpoint['distillation_losses']
    torch.save(checkpoint, tmp_path / 'without.pth')
    with pytest.raises(ValueError, match=r'needs those of \[.loss_hint.\]: resume with the config'):
        train_hint('resumed', load_from=str(tmp_path / 'without.pth'), resume=True)


def test_without_the_hook_training_ends_before_the_first_update(make_runner, hint_config):
    runner = make_runner(hint_config)
    with pytest.raises(ValueError, match='nobody stores the weights of loss_hint for a resume'):
        runner.train()
    assert runner.iter == 0


def test_without_schedules_the_weights_stay_and_any_loop_will_do(make_runner, hint_config):
    runner = make_runner(
        hint_config,
        custom_hooks=[dict(type='mmbss.BSSHook')],
        train_cfg=dict(by_epoch=False, max_iters=4),
        param_scheduler=None,
        optim_wrapper=dict(
            type='mmbss.CPUAmpOptimWrapper',
            optimizer=dict(type='SGD', lr=0.05),
            accumulative_counts=2,
        ),
    )
    before = regressor(runner).weight.clone()
    runner.train()
    assert runner.iter == 4
    assert not torch.equal(regressor(runner).weight, before)
    assert regressor(runner).weight.dtype is torch.float32
    assert not any('weight_' in name for name in runner.message_hub.log_scalars)


def test_losses_without_weights_add_nothing_to_a_checkpoint(train, tmp_path):
    train(epochs=1, work_dir=tmp_path / 'run')
    assert 'distillation_losses' not in torch.load(tmp_path / 'run' / 'epoch_1.pth')
