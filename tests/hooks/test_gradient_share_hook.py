import pytest
import torch

from mmbss.engine.errors import ConfigError
from mmbss.hooks import GradientShareHook

BSS_HOOK = dict(type='mmbss.BSSHook')
SEEDED = dict(type='mmbss.StepSeedHook')


@pytest.fixture
def model(digits_teacher, resnet_config, boundary_config):
    def model(**boundary):
        return dict(
            resnet_config(),
            type='mmbss.Distiller',
            teacher=digits_teacher,
            losses=dict(
                loss_kd=dict(type='mmbss.KDLoss', temperature=4.0),
                loss_at=dict(
                    type='mmbss.AttentionLoss', student='backbone.layer1', teacher='backbone.layer1'
                ),
                loss_bss=boundary_config(**boundary),
            ),
        )

    return model


@pytest.fixture
def train(make_runner):
    def train(model, *hooks, **settings):
        runner = make_runner(model, custom_hooks=[SEEDED, BSS_HOOK, *hooks], **settings)
        runner.train()
        return runner

    return train


def test_shares_are_logged_every_so_often_and_change_nothing(train, model):
    hook = dict(type='mmbss.GradientShareHook', interval=4)
    logging = train(model(), hook, epochs=1)
    plain = train(model(), epochs=1)
    history = logging.message_hub.log_scalars
    shares = [history[f'train/{name}_share'].data[0] for name in ('kd', 'bss', 'cls')]
    assert [len(each) for each in shares] == [1, 1, 1]  # of 6 iterations the fourth
    assert sum(each[0] for each in shares) == pytest.approx(1)
    assert 'train/at_share' not in history
    assert not any('share' in name for name in plain.message_hub.log_scalars)
    states = (runner.model.state_dict().values() for runner in (logging, plain))
    assert all(map(torch.equal, *states))


def test_a_resumed_run_with_a_share_equals_the_whole_one(train, model, tmp_path):
    config = model(share=0.3, candidates='teacher_correct')
    hook = dict(type='mmbss.GradientShareHook', interval=1)
    whole = train(config, hook, work_dir=tmp_path / 'whole')
    train(
        config,
        hook,
        work_dir=tmp_path / 'resumed',
        load_from=str(tmp_path / 'whole' / 'epoch_1.pth'),
        resume=True,
    )
    first, second = (
        torch.load(tmp_path / name)['state_dict'].values()
        for name in ('whole/epoch_2.pth', 'resumed/epoch_2.pth')
    )
    assert all(map(torch.equal, first, second))
    shares = whole.message_hub.log_scalars['train/bss_share'].data[0]
    assert shares.tolist() == pytest.approx(12 * [0.3], rel=1e-4)
    assert len(set(whole.message_hub.log_scalars['train/weight_bss'].data[0])) == 12


def test_a_schedule_of_what_has_a_share_is_refused(make_runner, model):
    schedules = dict(loss_bss=dict(start=2.0, end=0.0))
    runner = make_runner(
        model(share=0.3), custom_hooks=[dict(type='mmbss.BSSHook', schedules=schedules)]
    )
    with pytest.raises(ConfigError, match='loss_bss has a share of the gradient'):
        runner.train()


def test_what_is_no_distiller_is_refused(make_runner, resnet_config):
    runner = make_runner(resnet_config(), custom_hooks=[dict(type='mmbss.GradientShareHook')])
    with pytest.raises(ConfigError, match='GradientShareHook needs a distiller'):
        runner.train()
    with pytest.raises(ConfigError, match='interval must be at least 1'):
        GradientShareHook(interval=0)
