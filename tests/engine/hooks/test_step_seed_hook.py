import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from mmbss.engine.hooks.step_seed_hook import check_epochs
from mmbss.registry import HOOKS

SEEDED = dict(step_seed=dict(type='mmbss.StepSeedHook'))
CROPS = [
    dict(type='RandomCrop', crop_size=8, padding=2),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


@HOOKS.register_module()
class BatchRecorder(Hook):
    """Keeps the training batches as they were loaded, by iteration."""

    def __init__(self):
        self.batches = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches[runner.iter] = torch.stack(list(data_batch['inputs'])).clone()


@pytest.fixture
def batches(make_runner, resnet_config, tmp_path):
    """Batches of a run with random crops and flips, and the runner."""

    def batches(
        epochs=2, workers=0, iters=None, sampler='DefaultSampler', checkpoint=None, **changes
    ):
        checkpoint = checkpoint or dict(type='CheckpointHook', interval=1)
        if iters is not None:
            changes |= dict(train_cfg=dict(by_epoch=False, max_iters=iters), param_scheduler=None)
            checkpoint |= dict(by_epoch=False)
        runner = make_runner(
            resnet_config(),
            train_dataloader=dict(
                batch_size=32,
                num_workers=workers,
                persistent_workers=workers > 0,
                dataset=dict(type='mmbss.Digits', split='train', indices=96, pipeline=CROPS),
                sampler=dict(type=sampler, shuffle=True),
            ),
            default_hooks=dict(SEEDED, checkpoint=checkpoint),
            custom_hooks=[dict(type='mmbss.BatchRecorder')],
            epochs=epochs,
            **changes,
        )
        runner.train()
        recorder = next(hook for hook in runner.hooks if isinstance(hook, BatchRecorder))
        return recorder.batches

    return batches


@pytest.mark.parametrize('workers', [0, 2])
def test_a_resumed_epoch_has_the_batches_of_one_that_was_not_interrupted(
    workers, batches, tmp_path
):
    alone = batches(workers=workers, work_dir=tmp_path)
    resumed = batches(
        workers=workers, resume=True, load_from=str(tmp_path / 'epoch_1.pth'), work_dir=tmp_path
    )
    assert sorted(resumed) == [3, 4, 5]
    for iteration, batch in resumed.items():
        assert torch.equal(batch, alone[iteration])


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('iteration', [2, 3, 4])
def test_a_resume_in_the_middle_of_an_epoch_goes_on_there(workers, iteration, batches, tmp_path):
    setting = dict(
        workers=workers,
        checkpoint=dict(type='mmbss.AtomicCheckpointHook', by_epoch=False, interval=1),
        param_scheduler=dict(type='MultiStepLR', by_epoch=True, milestones=[1], gamma=0.5),
    )
    alone = batches(**setting, work_dir=tmp_path / 'alone')
    checkpoint = str(tmp_path / 'alone' / f'iter_{iteration}.pth')
    resumed = batches(**setting, work_dir=tmp_path, resume=True, load_from=checkpoint)
    assert sorted(resumed) == list(range(iteration, 6))
    for index, batch in resumed.items():
        assert torch.equal(batch, alone[index])
    one, other = (torch.load(folder / 'iter_6.pth') for folder in (tmp_path / 'alone', tmp_path))
    for name, weight in one['state_dict'].items():
        assert torch.equal(weight, other['state_dict'][name])
    assert one['param_schedulers'] == other['param_schedulers']
    assert one['meta']['epoch'] == other['meta']['epoch']


@pytest.mark.parametrize('sampler', ['DefaultSampler', 'InfiniteSampler'])
def test_a_resumed_training_by_iteration_has_them_too(sampler, batches, tmp_path, monkeypatch):
    # mmengine waits two seconds between two epochs of such a training
    monkeypatch.setattr('mmengine.runner.loops.time', SimpleNamespace(sleep=lambda seconds: None))
    alone = batches(iters=5, sampler=sampler, work_dir=tmp_path)
    checkpoint = str(tmp_path / 'iter_2.pth')
    resumed = batches(
        iters=5, sampler=sampler, resume=True, load_from=checkpoint, work_dir=tmp_path
    )
    assert sorted(resumed) == [2, 3, 4]
    for iteration, batch in resumed.items():
        assert torch.equal(batch, alone[iteration])


def sorted_images(batch_of):
    return torch.cat([batch_of[i] for i in sorted(batch_of)][:3]).flatten(1).sort(dim=0).values


@pytest.mark.parametrize('workers', [0, 2])
def test_every_epoch_is_augmented_afresh(workers, batches):
    of = batches(workers=workers)
    first, second = ({i - start: of[i] for i in range(start, start + 3)} for start in (0, 3))
    # the same images in another order would agree when each pixel is sorted
    assert not torch.equal(sorted_images(first), sorted_images(second))


def test_a_step_draws_by_its_iteration(make_runner, resnet_config):
    drawn = {}

    @HOOKS.register_module(force=True)
    class DrawRecorder(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            drawn.setdefault(runner.iter, []).append(draw())

    for _ in range(2):
        runner = make_runner(
            resnet_config(),
            epochs=1,
            default_hooks=SEEDED,
            custom_hooks=[dict(type='mmbss.DrawRecorder')],
        )
        runner.train()
        torch.rand(5)
    assert all(first == second for first, second in drawn.values())
    assert len({first for first, _ in drawn.values()}) == len(drawn) == 6


# ---------------------------------------------------------------- epochs that end, and together


def test_an_epoch_that_never_ends_is_refused(batches):
    with pytest.raises(ValueError, match=r'InfiniteSampler.*never ends'):
        batches(sampler='InfiniteSampler')


def uneven(rank, *lengths):
    loader = DataLoader(torch.zeros(lengths[rank]), batch_size=2)
    if len({*lengths}) == 1:
        check_epochs(loader)
        return
    with pytest.raises(ValueError, match=r'have 3, 2 batches .*round_up=True'):
        check_epochs(loader)


@pytest.mark.parametrize('lengths', [(5, 4), (4, 4)])
def test_processes_with_uneven_numbers_of_batches_are_refused(lengths, in_two_processes):
    in_two_processes(uneven, *lengths)
