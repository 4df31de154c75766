from dataclasses import replace

import pytest
import torch
from torch import nn

from mmbss.acceleration.recorded_pass import PassRecorder, RecallingNetwork


def conv_net(channels_last=False):
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 3, stride=2),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    network[1].running_mean.uniform_(-0.1, 0.1)
    network[1].running_var.uniform_(0.5, 1.5)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)


def check(network, inputs, rows, tolerance=0.0):
    recorded = PassRecorder(network)(inputs)
    assert recorded.logits.dtype == torch.float32
    assert not recorded.logits.requires_grad
    assert torch.allclose(recorded.logits, network(inputs).float(), atol=tolerance)
    recorded.keep(rows)
    samples = inputs[rows].requires_grad_()
    logits, expected = recorded(samples), network(samples).float()
    assert torch.allclose(logits, expected, atol=tolerance or 1e-6)
    cotangent = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(logits, samples, cotangent)
    (own,) = torch.autograd.grad(expected, samples, cotangent)
    assert gradient.dtype == samples.dtype
    assert own.abs().max() > 0
    assert torch.allclose(gradient, own, atol=tolerance or 1e-6)


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('rows', [[4], [7, 0, 3], [1, 1, 5], list(range(9))])
def test_logits_and_gradients_are_those_of_the_network(rows, channels_last):
    inputs = torch.randn(9, 3, 8, 8)
    if channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    check(conv_net(channels_last), inputs, torch.tensor(rows))


def test_a_network_of_16_bits():
    network = conv_net().bfloat16()
    check(lambda x: network(x.bfloat16()), torch.randn(4, 3, 8, 8), torch.tensor([2, 0]), 0.01)


def test_a_network_under_autocast():
    with torch.autocast('cpu', torch.bfloat16):
        check(conv_net(), torch.randn(4, 3, 8, 8), torch.tensor([2, 0]), 0.01)


def test_rows_may_be_several_entries_of_an_activation():
    class Windows(nn.Module):
        """Takes the halves of an image as samples of their own for a while, as Swin does."""

        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(12, 4)

        def forward(self, x):
            halves = self.first(x.reshape(-1, 6)).tanh()
            return self.second(halves.reshape(-1, 12))

    check(Windows().requires_grad_(False), torch.randn(5, 12), torch.tensor([3, 0]))


def test_batches_of_all_sizes_one_after_the_other():
    network, recorder = conv_net(), None
    recorder = PassRecorder(network)
    for size in (4, 9, 2, 9):
        inputs = torch.randn(size, 3, 8, 8)
        assert torch.equal(recorder(inputs).logits, network(inputs))
    assert len(recorder.traced) == 3


def test_only_kept_rows_are_held():
    recorded = PassRecorder(conv_net())(torch.randn(9, 3, 8, 8))
    before = sum(value.numel() for value in recorded.saved if value.shape[0] == 9)
    recorded.keep(torch.tensor([0, 1, 2]))
    assert sum(value.numel() for value in recorded.saved if value.shape[0] == 3) == before / 3
    assert all(value.shape[0] != 9 for value in recorded.saved)


def test_the_layout_of_kept_rows_stays():
    inputs = torch.randn(9, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    recorded = PassRecorder(conv_net(channels_last=True))(inputs)
    recorded.keep(torch.tensor([0, 1, 2]))
    images = [value for value in recorded.saved if value.ndim == 4 and value.shape[2] > 1]
    assert images
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in images)


@pytest.mark.parametrize(
    ('network', 'reason'),
    [
        (lambda x: x.flatten(1) * x.sum(), 'its gradient differs'),
        (lambda x: x.flatten(1) * (1 if x.sum() > 0 else 2), 'data-dependent'),
        (lambda x: (x.flatten(1) @ x.flatten(1).T).exp()[:, :1], 'mixes the samples'),
    ],
)
def test_what_cannot_be_recorded_is_said(network, reason):
    recorder = PassRecorder(network)
    with pytest.raises(ValueError, match=r'boundary.reuse_clean_pass=False') as error:
        recorder(torch.rand(20, 2, 2))
    assert reason in str(error.value)
    assert not recorder.traced


def recalling(network, inputs, rows):
    recorded = PassRecorder(network)(inputs)
    recorded.keep(rows)
    asked = []

    def counted(x):
        asked.append(len(x))
        return network(x)

    return RecallingNetwork(counted, recorded, inputs[rows]), asked


def test_the_network_is_not_asked_what_is_recorded():
    network, inputs, rows = conv_net(), torch.randn(6, 3, 8, 8), torch.tensor([5, 1])
    model, asked = recalling(network, inputs, rows)
    samples = inputs[rows].requires_grad_()
    logits = model(samples)
    assert asked == []
    assert torch.allclose(logits, network(samples), atol=1e-6)
    assert torch.autograd.grad(logits.sum(), samples)[0].abs().max() > 0


@pytest.mark.parametrize('first', [True, False], ids=['record asked', 'record not asked'])
@pytest.mark.parametrize('count', [2, 6, 9])
def test_other_samples_are_answered_by_the_graphs_of_the_record(first, count):
    network, inputs, rows = conv_net(), torch.randn(6, 3, 8, 8), torch.tensor([5, 1])
    model, asked = recalling(network, inputs, rows)
    if first:
        model(inputs[rows])
    other = torch.randn(count, 3, 8, 8).requires_grad_()
    logits, expected = model(other), network(other)
    assert asked == []
    assert model.takes_gradient_of_rows
    assert torch.allclose(logits, expected, atol=1e-6)
    cotangent = torch.randn_like(expected)
    cotangent[1] = 0
    (gradient,) = torch.autograd.grad(logits, other, cotangent)
    (own,) = torch.autograd.grad(expected, other, cotangent)
    assert torch.allclose(gradient, own, atol=1e-6)


def test_the_network_itself_answers_numbers_of_samples_that_the_graphs_do_not_suit():
    def network(x):
        return x.flatten(1) * (2.0 if len(x) > 4 else 1.0)

    inputs, rows = torch.randn(6, 3), torch.tensor([5, 1])
    model, asked = recalling(network, inputs, rows)
    for count in (6, 7, 4, 1):
        other = torch.randn(count, 3)
        assert torch.equal(model(other), network(other))
    assert asked == [7, 4, 1]
    assert not model.takes_gradient_of_rows


def test_a_gradient_of_some_rows_is_computed_for_these_alone():
    inputs = torch.randn(6, 3, 8, 8)
    recorded = PassRecorder(conv_net())(inputs)
    counts, backward = [], recorded.halves.backward

    def counted(rows, *arguments):
        counts.append(rows)
        return backward(rows, *arguments)

    recorded.halves = replace(recorded.halves, backward=counted)
    cotangent = torch.randn(6, 5)
    whole = recorded.gradient(cotangent)
    kept = torch.tensor([True, False, True, False, False, True])
    part = recorded.gradient(cotangent * kept[:, None])
    assert counts == [6, 3]
    assert torch.allclose(part[kept], whole[kept], atol=1e-6)
    assert part[~kept].eq(0).all()
    assert recorded.gradient(torch.zeros(6, 5)).eq(0).all()
