import logging

import pytest
import torch
from mmengine.config import Config

from mmbss.engine.default_hooks import add_safety_hooks, choose_checkpoint


def test_every_run_gets_the_hooks_that_keep_it_safe():
    cfg = Config(dict())
    add_safety_hooks(cfg)
    types = {name: hook.type for name, hook in cfg.default_hooks.items()}
    assert types == dict(
        checkpoint='mmbss.AtomicCheckpointHook',
        step_seed='mmbss.StepSeedHook',
        accumulation='mmbss.AccumulationHook',
        finite_loss='mmbss.FiniteLossHook',
        teacher_accuracy='mmbss.TeacherAccuracyHook',
    )


def test_the_config_has_the_last_word():
    cfg = Config(
        dict(
            default_hooks=dict(
                checkpoint=dict(type='MyCheckpointHook', interval=5),
                step_seed=None,
                finite_loss=dict(action='skip'),
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
    assert hooks.finite_loss == dict(type='mmbss.FiniteLossHook', action='skip')
    assert hooks.timer == dict(type='IterTimerHook')


def test_settings_of_the_checkpoints_are_kept():
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=7))))
    add_safety_hooks(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='mmbss.AtomicCheckpointHook', interval=7)
    cfg = Config(dict(default_hooks=dict(checkpoint=None)))
    add_safety_hooks(cfg)
    assert cfg.default_hooks.checkpoint is None


@pytest.fixture
def work_dir(tmp_path):
    for epoch in (1, 2):
        torch.save(dict(state_dict=dict()), tmp_path / f'epoch_{epoch}.pth')
    return tmp_path


def resumed(folder, **changes):
    cfg = Config(dict(work_dir=str(folder), resume=True, load_from=None))
    cfg.update(changes)
    choose_checkpoint(cfg)
    return cfg.resume, cfg.load_from


def test_a_run_goes_on_from_the_newest_checkpoint(work_dir):
    assert resumed(work_dir) == (True, str(work_dir / 'epoch_2.pth'))


def test_a_copied_work_dir_is_gone_on_with_from_its_own_checkpoints(work_dir, tmp_path_factory):
    other = tmp_path_factory.mktemp('original')
    torch.save(dict(state_dict=dict()), other / 'epoch_2.pth')
    (work_dir / 'last_checkpoint').write_text(str(other / 'epoch_2.pth'))
    assert resumed(work_dir) == (True, str(work_dir / 'epoch_2.pth'))


def test_checkpoints_that_are_kept_elsewhere_are_found(work_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp('logs')
    (folder / 'last_checkpoint').write_text(str(work_dir / 'epoch_2.pth'))
    assert resumed(folder) == (True, str(work_dir / 'epoch_2.pth'))


def test_a_truncated_newest_is_reported_and_the_one_before_it_used(work_dir, caplog):
    path = work_dir / 'epoch_2.pth'
    path.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        assert resumed(work_dir) == (True, str(work_dir / 'epoch_1.pth'))


def test_nothing_to_resume_is_a_start(tmp_path):
    assert resumed(tmp_path) == (False, None)


def test_a_named_checkpoint_must_be_whole(work_dir):
    path = work_dir / 'epoch_2.pth'
    assert resumed(work_dir, load_from=str(path)) == (True, str(path))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r'epoch_2.pth is truncated'):
        resumed(work_dir, load_from=str(path))


def test_without_resume_nothing_is_chosen(work_dir):
    assert resumed(work_dir, resume=False) == (False, None)


def test_checkpoints_in_another_storage_are_left_to_mmengine(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/run/epoch_2.pth')
    assert resumed(tmp_path) == (True, None)
