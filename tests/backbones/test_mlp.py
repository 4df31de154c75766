import pytest
import torch
from torch import nn

from mmbss.backbones import MLP


def test_layers_have_the_said_widths():
    model = MLP(in_features=784, hidden=(1200, 1200))
    sizes = [tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(1200, 784), (1200, 1200)]


def test_output_is_that_of_the_written_layers():
    model = MLP(in_features=12, hidden=(5, 4))
    x = torch.randn(3, 3, 2, 2)
    first, second = (m for m in model.modules() if isinstance(m, nn.Linear))
    expected = x.reshape(3, 12)
    for layer in (first, second):
        expected = (expected @ layer.weight.T + layer.bias).clamp(min=0)
    (out,) = model(x)
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize('dropout', [0.0, 0.5])
def test_dropout_only_acts_while_training(dropout):
    model = MLP(in_features=16, hidden=(200,), dropout=dropout)
    x = torch.randn(2, 1, 4, 4)
    model.train()
    assert torch.equal(model(x)[0], model(x)[0]) is (dropout == 0)
    model.train(False)
    assert torch.equal(model(x)[0], model(x)[0])


def test_dropout_keeps_the_mean():
    model = MLP(in_features=16, hidden=(20_000,), dropout=0.5)
    x = torch.randn(1, 1, 4, 4)
    model.train()
    noisy = model(x)[0].mean()
    model.train(False)
    torch.testing.assert_close(noisy, model(x)[0].mean(), rtol=0.05, atol=0)
