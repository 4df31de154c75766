import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmbss.engine.default_hooks import add_safety_hooks


@pytest.mark.parametrize('config', [dict(), dict(default_hooks=None)])
def test_every_run_gets_the_hooks_that_keep_it_safe(config):
    cfg = Config(config)
    add_safety_hooks(cfg)
    types = {name: hook.type for name, hook in cfg.default_hooks.items()}
    assert types == dict(
        checkpoint='mmbss.AtomicCheckpointHook',
        step_seed='mmbss.StepSeedHook',
        accumulation='mmbss.AccumulationHook',
        fingerprint='mmbss.FingerprintHook',
        hook_states='mmbss.HookStatesHook',
        finite_loss='mmbss.FiniteLossHook',
        teacher_accuracy='mmbss.TeacherAccuracyHook',
    )


def test_the_config_has_the_last_word():
    cfg = Config(
        dict(
            default_hooks=dict(
                checkpoint=dict(type='MyCheckpointHook', interval=5),
                step_seed=None,
                fingerprint=dict(accept_changes=True),
                timer=dict(type='IterTimerHook'),
                logger=None,
                bss=None,
            )
        )
    )
    add_safety_hooks(cfg)
    hooks = cfg.default_hooks
    assert hooks.checkpoint == dict(type='MyCheckpointHook', interval=5)
    assert 'step_seed' not in hooks
    assert 'bss' not in hooks, 'of which mmengine would only say that it is no hook'
    assert hooks.logger is None, 'which has mmengine leave it out'
    assert hooks.fingerprint == dict(type='mmbss.FingerprintHook', accept_changes=True)
    assert hooks.timer == dict(type='IterTimerHook')


def test_settings_of_the_checkpoints_are_kept():
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=7))))
    add_safety_hooks(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='mmbss.AtomicCheckpointHook', interval=7)
    cfg = Config(dict(default_hooks=dict(checkpoint=None)))
    add_safety_hooks(cfg)
    assert cfg.default_hooks.checkpoint is None


@pytest.mark.parametrize(
    'kind',
    [
        *('CheckpointHook', 'mmengine.CheckpointHook', 'mmpretrain.CheckpointHook'),
        *('mmengine.hooks.CheckpointHook', CheckpointHook, None),
    ],
)
def test_the_hook_of_mmengine_is_replaced_however_it_is_named(kind):
    hook = dict(interval=7) if kind is None else dict(type=kind, interval=7)
    cfg = Config(dict(default_hooks=dict(checkpoint=hook), custom_hooks=[hook] if kind else []))
    add_safety_hooks(cfg)
    for replaced in (cfg.default_hooks.checkpoint, *cfg.custom_hooks):
        assert replaced == dict(type='mmbss.AtomicCheckpointHook', interval=7)


class OwnCheckpointHook(CheckpointHook):
    pass


def test_a_checkpoint_hook_of_the_users_own_stays():
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(type=OwnCheckpointHook))))
    add_safety_hooks(cfg)
    assert cfg.default_hooks.checkpoint.type is OwnCheckpointHook


@pytest.mark.parametrize(
    ('hooks', 'message'),
    [
        ([], 'default_hooks must be a dict'),
        (dict(checkpoint=CheckpointHook), r'default_hooks\.checkpoint must be a dict'),
        (dict(finite_loss='skip'), r'default_hooks\.finite_loss must be a dict'),
    ],
)
def test_what_is_no_dict_is_refused(hooks, message):
    with pytest.raises(ValueError, match=message):
        add_safety_hooks(Config(dict(default_hooks=hooks)))
