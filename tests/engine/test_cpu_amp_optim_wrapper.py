import pytest
import torch
from torch import nn

from mmbss.engine.cpu_amp_optim_wrapper import CPUAmpOptimWrapper


@pytest.fixture
def wrapper():
    model = nn.Linear(4, 2)
    return model, CPUAmpOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))


def test_forward_is_in_bfloat16_and_the_rest_in_float32(wrapper):
    model, optimizer = wrapper
    with optimizer.optim_context(model):
        out = model(torch.randn(3, 4))
        assert out.dtype is torch.bfloat16
    assert model(torch.randn(3, 4)).dtype is torch.float32
    optimizer.update_params(out.float().sum())
    assert model.weight.dtype is torch.float32
    assert model.weight.grad is None or model.weight.grad.dtype is torch.float32


def test_gradients_accumulate_over_the_said_batches():
    model = nn.Linear(4, 2)
    before = model.weight.detach().clone()
    optimizer = CPUAmpOptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=2
    )
    optimizer.initialize_count_status(model, 0, 4)
    for step in range(2):
        with optimizer.optim_context(model):
            loss = model(torch.ones(3, 4)).float().sum()
        optimizer.update_params(loss)
        assert torch.equal(model.weight, before) is (step == 0)


def test_autocast_ends_after_an_error(wrapper):
    model, optimizer = wrapper
    with pytest.raises(RuntimeError), optimizer.optim_context(model):
        model(torch.randn(3, 7))
    assert not torch.is_autocast_enabled('cpu')
