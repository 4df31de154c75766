import pytest
import torch
from torch import nn

from mmbss.acceleration.recorded_pass import RecordedPass
from mmbss.acceleration.split_graph import trace

ROWS = torch.tensor([3, 0, 3])


def record(network, inputs):
    """Record a frozen network's pass, and compare its gradient with that of autograd."""
    network.requires_grad_(False)
    recorded = RecordedPass(trace(network, inputs), inputs)
    types = [value.dtype for value in recorded.saved if value.ndim == 4]
    recorded.keep(ROWS)
    samples = inputs[ROWS].requires_grad_()
    logits = network(samples)
    cotangent = torch.randn_like(logits)
    (expected,) = torch.autograd.grad(logits, samples, cotangent)
    gradient = recorded.gradient(cotangent)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0, equal_nan=True)
    return types


def network(*layers):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize('inplace', [False, True])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_of_relus_their_signs_are_kept_and_of_convolutions_nothing(inplace, layout):
    layers = [nn.ReLU(inplace), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU(inplace), nn.AvgPool2d(2)]
    inputs = torch.randn(5, 3, 12, 12).to(memory_format=layout)
    assert record(network(*layers).to(memory_format=layout), inputs) == [torch.int8, torch.int8]


def test_a_relu_that_is_used_twice_is_kept_once():
    class Block(nn.Module):
        def forward(self, images):
            answer = images.relu()
            return answer + answer.relu()

    assert record(network(Block()), torch.randn(5, 3, 8, 8)) == [torch.int8, torch.int8]
    assert record(network(nn.ReLU(), nn.AvgPool2d(2)), torch.randn(5, 3, 8, 8)) == [torch.int8]


@pytest.mark.parametrize(
    'layer', [nn.LeakyReLU(0.1), nn.Hardtanh(0, 1), nn.GELU(), nn.Threshold(1, 0)]
)
def test_of_other_activations_all_is_kept(layer):
    assert record(network(layer), torch.randn(5, 3, 8, 8)) == [torch.float32]


def test_what_reads_the_answer_itself_keeps_it():
    class Square(nn.Module):
        def forward(self, images):
            return images.relu() ** 2

    types = record(network(Square()), torch.randn(5, 3, 8, 8))
    assert set(types) == {torch.int8, torch.float32}


def test_gradients_of_values_that_are_not_finite_are_those_of_autograd():
    inputs = torch.randn(5, 3, 8, 8)
    inputs[0, 0, 4, 4], inputs[3, 1, 2, 2] = torch.nan, torch.inf
    record(network(nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()), inputs)
