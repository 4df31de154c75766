import math
from collections import Counter, deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import EarlyStoppingHook, Hook

from mmbss.engine.hooks import HookStatesHook
from mmbss.registry import HOOKS

HOOKS_OF_RUN = dict(
    hook_states=dict(type='mmbss.HookStatesHook'),
    step_seed=dict(type='mmbss.StepSeedHook'),
    checkpoint=dict(type='mmbss.AtomicCheckpointHook', interval=1),
)


class Box:
    count = 0


@HOOKS.register_module()
class CountingHook(Hook):
    """A hook of a user's own that has states of many kinds."""

    def __init__(self, limit=3):
        self.limit = limit
        self.seen = 0
        self.best = -math.inf
        self.found = None
        self.mean = torch.zeros(2)
        self.by_epoch = {}
        self.name = 'begun'
        self.queue = set()
        self.counter = Counter()
        self.last = deque(maxlen=2)
        self.sums = np.zeros(2)
        self.largest = np.int64(0)
        self.names = ['begun']
        self.box = Box()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen += 1
        self.best = max(self.best, -outputs['loss'].item())
        self.mean = self.mean + torch.tensor([1.0, self.best])
        self.found = self.found or self.seen > 2
        self.by_epoch.setdefault(runner.epoch, []).append(self.seen)

    def after_train_epoch(self, runner):
        self.name = f'epoch {runner.epoch}'
        self.queue.add(runner.epoch)
        self.counter['epochs'] += 1
        self.last.append(runner.epoch)
        self.sums += 1
        self.largest = self.largest + 1
        self.names.append(self.name)
        self.box.count += 1


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


def test_what_a_hook_of_the_users_own_has_counted_goes_on(train, capfd):
    counting = dict(type='mmbss.CountingHook')
    alone = hook_of(train(counting), 'CountingHook')
    capfd.readouterr()
    resumed = hook_of(train(counting, resume='epoch_1.pth', folder='resumed'), 'CountingHook')
    for name in ('seen', 'best', 'found', 'by_epoch', 'limit', 'queue', 'counter', 'largest'):
        assert getattr(resumed, name) == getattr(alone, name), name
    assert type(resumed.counter) is Counter
    assert torch.equal(resumed.mean, alone.mean)
    said = capfd.readouterr()
    (line,) = [line for line in (said.out + said.err).splitlines() if 'begins anew' in line]
    names = ('name', 'last', 'sums', 'names', 'box')
    assert ', '.join(f'CountingHook.1.{name}' for name in names) in line


def test_two_hooks_of_one_type_have_a_state_each(train, tmp_path):
    train(*[dict(type='mmbss.CountingHook', limit=limit) for limit in (3, 4)], epochs=1)
    states = torch.load(tmp_path / 'run' / 'epoch_1.pth')['meta']['hook_states']['states']
    assert {name: state['seen'] for name, state in states.items()} == {
        'CountingHook.1': 6,
        'CountingHook.2': 6,
    }


def test_a_hook_that_stores_its_own_state_is_left_alone(train, tmp_path):
    train(dict(type='mmbss.OwnStateHook'), epochs=1)
    meta = torch.load(tmp_path / 'run' / 'epoch_1.pth')['meta']
    assert meta['hook_states'] == dict(states={}, away={}, lost=[], stopped=False)


@pytest.mark.parametrize(
    'stored',
    [
        None,
        [],
        dict(states=None, lost=None),
        dict(states={'CountingHook.1': dict(seen='7', name='/etc', other=3, hooks=[])}),
    ],
)
def test_a_file_of_others_sets_nothing_but_numbers(stored, train, tmp_path):
    counting = dict(type='mmbss.CountingHook')
    train(counting, epochs=1)
    path = tmp_path / 'run' / 'epoch_1.pth'
    content = torch.load(path)
    content['meta']['hook_states'] = stored
    torch.save(content, path)
    hook = hook_of(train(counting, epochs=1, resume='epoch_1.pth', folder='other'), 'CountingHook')
    assert (hook.seen, hook.name) == (0, 'begun')
    assert not hasattr(hook, 'other')


def test_tensors_come_back_to_the_device_of_the_model(monkeypatch):
    # nothing can be copied from the device that stands for another one here
    monkeypatch.setattr('mmbss.engine.hooks.hook_states_hook.counts_of', vars)
    there, here = torch.zeros(2, device='meta'), torch.ones(2)
    hook, states = CountingHook(), HookStatesHook()
    runner = SimpleNamespace(_resume=True, hooks=[hook], model=there, train_loop=None)
    monkeypatch.setattr('mmbss.engine.hooks.hook_states_hook.device_of', lambda model: model.device)
    monkeypatch.setattr('mmbss.engine.hooks.hook_states_hook.same', lambda one, other: False)
    hook.mean, hook.by_epoch, hook.names = there, {0: [there, (there, 1)]}, [here]
    checkpoint = dict(meta={})
    states.before_save_checkpoint(runner, checkpoint)
    stored = checkpoint['meta']['hook_states']
    # as a file holds them
    names = dict(mean=here, by_epoch={0: [here, (here, 1)]}, names=[here])
    stored.update(states={'CountingHook.1': names}, lost=[])
    fresh = CountingHook()
    runner.hooks = [fresh]
    states.after_load_checkpoint(runner, checkpoint)
    first, (second, one) = fresh.by_epoch[0]
    assert {each.device.type for each in (fresh.mean, first, second)} == {'meta'}
    assert one == 1
    assert torch.equal(fresh.names[0], here)


def test_a_checkpoint_that_says_nothing_of_devices_leaves_tensors_on_the_cpu(train, tmp_path):
    counting = dict(type='mmbss.CountingHook')
    train(counting, epochs=1)
    path = tmp_path / 'run' / 'epoch_1.pth'
    content = torch.load(path)
    content['meta']['hook_states'].pop('away')
    torch.save(content, path)
    resumed = train(counting, epochs=1, resume='epoch_1.pth', folder='other')
    assert hook_of(resumed, 'CountingHook').mean[0] == 6


@HOOKS.register_module()
class LateHook(Hook):
    """Has one number only while it trains, and sets another anew each time."""

    total = 0

    def before_train(self, runner):
        self.seen = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen += 1
        self.total += 1


def test_what_a_hook_has_only_while_it_trains_goes_on_or_is_named(train, capfd):
    late = dict(type='mmbss.LateHook')
    whole = hook_of(train(late), 'LateHook')
    train(late, epochs=1, folder='run')
    capfd.readouterr()
    resumed = hook_of(train(late, resume='epoch_1.pth', folder='other'), 'LateHook')
    assert resumed.total == whole.total > 0
    assert resumed.seen < whole.seen
    said = capfd.readouterr()
    assert 'not as in the checkpoint: LateHook.1.seen' in said.out + said.err
