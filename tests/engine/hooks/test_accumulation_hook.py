import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmbss.engine.hooks.accumulation_hook import share_gradients

HOOKS = dict(
    accumulation=dict(type='mmbss.AccumulationHook'),
    checkpoint=dict(type='CheckpointHook', interval=1),
)


@pytest.fixture
def train(make_runner, resnet_config, tmp_path):
    """Train two epochs of six iterations, and gives the weights."""

    def train(accumulative_counts, hooks=HOOKS, **changes):
        runner = make_runner(
            resnet_config(),
            work_dir=tmp_path,
            optim_wrapper=dict(
                type='OptimWrapper',
                accumulative_counts=accumulative_counts,
                optimizer=dict(type='SGD', lr=0.05),
            ),
            default_hooks=hooks,
            **changes,
        )
        runner.train()
        return runner.model.state_dict()

    return train


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_gradients_that_wait_for_the_next_epoch_survive_a_resume(train, tmp_path, capsys):
    alone = train(4)
    checkpoint = torch.load(tmp_path / 'epoch_1.pth')
    assert 'accumulated_gradients' in checkpoint
    assert not set(checkpoint['accumulated_gradients']) - set(checkpoint['state_dict'])
    resumed = dict(resume=True, load_from=str(tmp_path / 'epoch_1.pth'))
    lost = 'the gradient of some iterations is lost'
    assert same(train(4, **resumed), alone)
    assert lost not in capsys.readouterr().out
    without = dict(checkpoint=HOOKS['checkpoint'])
    assert not same(train(4, hooks=without, **resumed), alone)
    assert lost in capsys.readouterr().out


@pytest.mark.parametrize('counts', [1, 3])
def test_nothing_is_stored_where_nothing_waits(counts, train, tmp_path):
    train(counts)
    assert 'accumulated_gradients' not in torch.load(tmp_path / 'epoch_1.pth')


def train_together(rank, config, folder, load_from=None):
    config = copy.deepcopy(config)
    config.update(launcher='pytorch', work_dir=str(folder), experiment_name=folder.name)
    config.update(load_from=load_from, resume=load_from is not None)
    config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
    Runner.from_cfg(config).train()


BY_ITERATION = {
    'train_cfg': dict(by_epoch=False, max_iters=12, _delete_=True),
    'param_scheduler': None,
    'default_hooks.checkpoint': dict(by_epoch=False, interval=6),
}


@pytest.mark.parametrize(
    ('changes', 'middle', 'end'),
    [({}, 'epoch_1.pth', 'epoch_2.pth'), (BY_ITERATION, 'iter_6.pth', 'iter_12.pth')],
    ids=['epochs', 'iterations'],
)
def test_gradients_of_two_processes_survive_a_resume(
    changes, middle, end, run_settings, resnet_config, in_two_processes, tmp_path, monkeypatch
):
    # mmengine waits two seconds between two epochs of a training by iteration
    monkeypatch.setattr('mmengine.runner.loops.time', SimpleNamespace(sleep=lambda seconds: None))
    config = Config(run_settings('unused', resnet_config(), default_hooks=HOOKS))
    config.update(val_dataloader=None, val_evaluator=None, val_cfg=None)
    config.train_dataloader.batch_size = 16
    config.optim_wrapper.accumulative_counts = 4
    config.merge_from_dict(copy.deepcopy(changes))  # it takes _delete_ out
    alone, again = tmp_path / 'alone', tmp_path / 'again'
    in_two_processes(train_together, config, alone)
    assert 'accumulated_gradients' in torch.load(alone / middle)
    in_two_processes(train_together, config, again, str(alone / middle))
    assert same(*(torch.load(folder / end)['state_dict'] for folder in (alone, again)))


def share_in_two_processes(rank, folder):
    model = torch.nn.ParameterList([torch.zeros(2), torch.zeros(1), torch.zeros(1)])
    model[0].grad = torch.tensor([1.0, 3.0]) + rank
    if rank == 1:
        model[1].grad = torch.tensor([4.0])
    share_gradients(model)
    torch.save([parameter.grad for parameter in model], folder / f'{rank}.pth')


def test_every_process_gets_the_mean_of_all_gradients(in_two_processes, tmp_path):
    in_two_processes(share_in_two_processes, tmp_path)
    for rank in (0, 1):
        both, of_one, of_none = torch.load(tmp_path / f'{rank}.pth')
        assert (both.tolist(), of_one.tolist(), of_none) == ([1.5, 3.5], [2.0], None)


def train_apart(rank, config, folder, load_from=None):
    config = copy.deepcopy(config)
    config.update(launcher='pytorch', work_dir=str(folder), experiment_name=folder.name)
    config.update(load_from=load_from, resume=load_from is not None)
    # as mmengine does on GPUs, and mmbss on CPUs
    config.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
    )
    Runner.from_cfg(config).train()


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.parametrize('changes', [{}, BY_ITERATION], ids=['epochs', 'iterations'])
def test_running_statistics_of_two_processes_survive_a_resume_and_an_average(
    changes, update_buffers, run_settings, resnet_config, in_two_processes, tmp_path, monkeypatch
):
    monkeypatch.setattr('mmengine.runner.loops.time', SimpleNamespace(sleep=lambda seconds: None))
    average = dict(type='EMAHook', momentum=0.1, update_buffers=update_buffers)
    config = Config(
        run_settings('unused', resnet_config(), default_hooks=HOOKS, custom_hooks=[average])
    )
    config.update(val_dataloader=None, val_evaluator=None, val_cfg=None)
    config.train_dataloader.batch_size = 16
    config.merge_from_dict(copy.deepcopy(changes))  # it takes _delete_ out
    middle, end = ('iter_6.pth', 'iter_12.pth') if changes else ('epoch_1.pth', 'epoch_2.pth')
    alone, again = tmp_path / 'alone', tmp_path / 'again'
    in_two_processes(train_apart, config, alone)
    in_two_processes(train_apart, config, again, str(alone / middle))
    first, second = (torch.load(folder / end) for folder in (alone, again))
    assert same(first['state_dict'], second['state_dict'])
    assert same(first['ema_state_dict'], second['ema_state_dict'])
    statistics = [name for name in first['state_dict'] if 'running' in name]
    assert statistics
    # mmengine writes the averaged weights as the model's, and the model's as the averaged ones
    of_model = {name: first['ema_state_dict'][f'module.{name}'] for name in statistics}
    assert same(of_model, first['state_dict']) != update_buffers
