import pytest
import torch

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


def test_gradients_that_wait_for_the_next_epoch_survive_a_resume(train, tmp_path):
    alone = train(4)
    checkpoint = torch.load(tmp_path / 'epoch_1.pth')
    assert 'accumulated_gradients' in checkpoint
    assert not set(checkpoint['accumulated_gradients']) - set(checkpoint['state_dict'])
    resumed = dict(resume=True, load_from=str(tmp_path / 'epoch_1.pth'))
    assert same(train(4, **resumed), alone)
    without = dict(checkpoint=HOOKS['checkpoint'])
    assert not same(train(4, hooks=without, **resumed), alone)


@pytest.mark.parametrize('counts', [1, 3])
def test_nothing_is_stored_where_nothing_waits(counts, train, tmp_path):
    train(counts)
    assert 'accumulated_gradients' not in torch.load(tmp_path / 'epoch_1.pth')
