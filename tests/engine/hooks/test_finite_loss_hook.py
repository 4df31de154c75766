import math

import pytest
import torch
from mmengine.hooks import Hook

from mmbss.engine.hooks import FiniteLossHook
from mmbss.engine.hooks.finite_loss_hook import NonFiniteError
from mmbss.registry import HOOKS


@HOOKS.register_module()
class SpoilHook(Hook):
    """Makes the loss of some iterations infinite, and keeps the weights after each."""

    priority = 'LOWEST'

    def __init__(self, iterations):
        self.iterations = iterations
        self.weights = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        spoilt = runner.iter in self.iterations
        runner.model.head.loss_module.loss_weight = math.inf if spoilt else 1.0
        self.weights[runner.iter] = runner.model.head.fc.weight.detach().clone()


@pytest.fixture
def run(make_runner, resnet_config):
    """A runner of six iterations an epoch whose loss is spoilt in some."""

    def run(iterations, accumulative_counts=1, **finite_loss):
        return make_runner(
            resnet_config(),
            optim_wrapper=dict(
                type='OptimWrapper',
                accumulative_counts=accumulative_counts,
                optimizer=dict(type='SGD', lr=0.05, momentum=0.9),
            ),
            default_hooks=dict(
                finite_loss=dict(type='mmbss.FiniteLossHook', **finite_loss),
                checkpoint=dict(type='CheckpointHook', interval=1),
            ),
            custom_hooks=[dict(type='mmbss.SpoilHook', iterations=iterations)],
        )

    return run


def weights(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, SpoilHook)).weights


def test_the_run_stops_with_iteration_parts_and_last_checkpoint(run, tmp_path):
    runner = run([8])
    with pytest.raises(NonFiniteError) as error:
        runner.train()
    message = str(error.value)
    assert 'not finite in iteration 9 (epoch 2): loss inf' in message
    assert f'the last checkpoint is {runner.work_dir}/epoch_1.pth' in message
    assert "action='skip'" in message
    # the weights are those of the last good update
    assert torch.equal(weights(runner)[8], runner.model.head.fc.weight)
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


def test_before_the_first_checkpoint_that_is_said(run):
    with pytest.raises(NonFiniteError, match='no checkpoint has been written yet'):
        run([0]).train()


def test_an_update_may_be_left_out(run):
    runner = run([3, 4], action='skip')
    runner.train()
    of = weights(runner)
    assert torch.equal(of[3], of[4])
    assert torch.equal(of[4], of[5])
    others = [(0, 1), (1, 2), (2, 3), (5, 6), (6, 7)]
    assert not any(torch.equal(of[first], of[second]) for first, second in others)
    assert runner.iter == 12


def test_too_many_in_a_row_stop_the_run(run):
    with pytest.raises(NonFiniteError, match=r'in iteration 6 .*for the 3\. time in a row'):
        run([1, 3, 4, 5], action='skip', patience=3).train()


def test_what_was_accumulated_before_is_used(run):
    # the last of two iterations is left out; the first one's gradient is not lost
    runner = run([3], accumulative_counts=2, action='skip')
    runner.train()
    of = weights(runner)
    assert torch.equal(of[2], of[3])
    assert not torch.equal(of[3], of[4])
    assert torch.equal(of[4], of[5])
    assert not torch.equal(of[5], of[6])


@pytest.mark.parametrize('arguments', [dict(action='ignore'), dict(patience=0)])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match='FiniteLossHook: '):
        FiniteLossHook(**arguments)
