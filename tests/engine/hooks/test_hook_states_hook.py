import pytest
import torch
from mmengine.hooks import EarlyStoppingHook, Hook

from mmbss.registry import HOOKS

HOOKS_OF_RUN = dict(
    hook_states=dict(type='mmbss.HookStatesHook'),
    step_seed=dict(type='mmbss.StepSeedHook'),
    checkpoint=dict(type='mmbss.AtomicCheckpointHook', interval=1),
)


@HOOKS.register_module()
class CountingHook(Hook):
    """A hook of a user's own that counts, and stores nothing."""

    def __init__(self, limit=3):
        self.limit = limit
        self.seen = 0
        self.mean = torch.zeros(2)
        self.by_epoch = {}
        self.unreadable = Unreadable()

    def after_train_epoch(self, runner):
        self.seen += 1
        self.mean = self.mean + 1
        self.by_epoch.setdefault(runner.epoch, []).append(self.seen)


class Unreadable:
    def __repr__(self):
        raise RuntimeError


@HOOKS.register_module()
class OwnStateHook(Hook):
    """A hook that stores its own state."""

    def __init__(self):
        self.count = 0

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['count'] = self.count

    def after_train_epoch(self, runner):
        self.count += 1


@pytest.fixture
def train(make_runner, resnet_config, run_settings, tmp_path):
    """Train some epochs, from the start or on from a checkpoint."""

    def train(*hooks, epochs=2, resume=None, folder='run'):
        whole = run_settings('unused', {})
        keys = [f'{of}_{part}' for of in ('val', 'test') for part in ('evaluator', 'cfg')]
        validation = {key: whole[key] for key in ('val_dataloader', *keys)}
        runner = make_runner(
            resnet_config(),
            work_dir=tmp_path / folder,
            default_hooks=HOOKS_OF_RUN,
            custom_hooks=list(hooks),
            epochs=epochs,
            resume=resume is not None,
            load_from=resume and str(tmp_path / 'run' / resume),
            **validation,
        )
        runner.train()
        return runner

    return train


def hook_of(runner, kind):
    return next(hook for hook in runner.hooks if type(hook).__name__ == kind)


EARLY = dict(type='EarlyStoppingHook', monitor='accuracy/top1', patience=3, min_delta=1e3)


def test_early_stopping_stops_where_it_would_have(train):
    alone = train(EARLY, epochs=8)
    assert alone.epoch == 4, 'one to begin with, and three that are no better'
    assert train(EARLY, epochs=8, resume='epoch_3.pth', folder='resumed').epoch == 4
    # it had stopped there already
    runner = train(EARLY, epochs=8, resume='epoch_4.pth', folder='over')
    assert (runner.epoch, runner.iter) == (4, alone.iter)
    assert isinstance(hook_of(runner, 'EarlyStoppingHook'), EarlyStoppingHook)


def test_what_a_hook_of_the_users_own_has_counted_is_named(train, capfd):
    counting = dict(type='mmbss.CountingHook')
    train(counting, epochs=1)
    capfd.readouterr()
    hook = hook_of(train(counting, resume='epoch_1.pth', folder='resumed'), 'CountingHook')
    assert hook.seen == 1
    said = capfd.readouterr()
    (line,) = [line for line in (said.out + said.err).splitlines() if 'begins anew' in line]
    for name in ('seen', 'mean', 'by_epoch'):
        assert f'CountingHook.{name} ' in line
    assert 'limit' not in line
    assert 'unreadable' not in line


def test_a_hook_that_stores_its_own_state_is_left_alone(train, tmp_path):
    train(dict(type='mmbss.OwnStateHook'), epochs=1)
    meta = torch.load(tmp_path / 'run' / 'epoch_1.pth')['meta']
    assert meta['hook_states'] == dict(early_stopping=[], stopped=False, anew=[])


def test_two_hooks_that_stop_early_have_a_state_each(train, tmp_path):
    hooks = EARLY, dict(EARLY, min_delta=-1e3)  # for which everything is better
    train(*hooks, epochs=3)
    states = torch.load(tmp_path / 'run' / 'epoch_3.pth')['meta']['hook_states']['early_stopping']
    (first, _), (second, _) = states
    assert (first, second) == (2, 0)
    resumed = train(*hooks, epochs=3, resume='epoch_3.pth', folder='resumed')
    found = [hook for hook in resumed.hooks if isinstance(hook, EarlyStoppingHook)]
    assert [[hook.wait_count, hook.best_score] for hook in found] == states


@pytest.mark.parametrize(
    'stored',
    [
        None,
        [],
        dict(early_stopping=3, anew=3),
        dict(early_stopping=None, anew=None),
        dict(early_stopping=[['7', 1.0]]),
        dict(early_stopping=[dict(wait_count=7)]),
    ],
)
def test_a_file_of_others_sets_nothing_but_numbers(stored, train, tmp_path):
    train(EARLY, epochs=1)
    path = tmp_path / 'run' / 'epoch_1.pth'
    content = torch.load(path)
    content['meta']['hook_states'] = stored
    torch.save(content, path)
    resumed = train(EARLY, epochs=1, resume='epoch_1.pth', folder='other')
    hook = hook_of(resumed, 'EarlyStoppingHook')
    assert (hook.wait_count, hook.best_score) == (0, -float('inf'))
