import copy

import pytest
import torch
from torch import nn

from mmbss.distillers.batch_norm import frozen_statistics, split_batch


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))


def buffers(model):
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize('momentum', [0.1, None])
def test_statistics_stay_and_samples_are_normalised_as_ever(momentum):
    frozen = network()
    frozen[1].momentum = momentum
    frozen(torch.randn(4, 3, 8, 8))
    plain, before = copy.deepcopy(frozen), buffers(frozen)
    inputs = torch.randn(4, 3, 8, 8)
    with frozen_statistics(frozen):
        outputs = frozen(inputs)
    expected = plain(inputs)
    assert torch.equal(outputs, expected)
    assert all(torch.equal(buffer, before[name]) for name, buffer in frozen.named_buffers())
    assert not all(torch.equal(buffer, before[name]) for name, buffer in plain.named_buffers())
    for model, value in ((frozen, outputs), (plain, expected)):
        value.square().sum().backward()
        assert model[0].weight.grad.abs().sum() > 0
    assert torch.equal(frozen[0].weight.grad, plain[0].weight.grad)


def test_afterwards_statistics_are_kept_again():
    model = network()
    with pytest.raises(RuntimeError), frozen_statistics(model):
        model(torch.randn(4, 5, 8, 8))
    before = buffers(model)
    model(torch.randn(4, 3, 8, 8))
    assert all(not torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert list(model.state_dict()) == list(network().state_dict())


def test_layers_in_eval_mode_go_on_using_their_running_statistics():
    model = network().eval()
    inputs = torch.randn(4, 3, 8, 8)
    expected = model(inputs)
    with frozen_statistics(model):
        assert torch.equal(model(inputs), expected)


def test_layers_without_running_statistics_stay_without():
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    with frozen_statistics(layer):
        layer(torch.randn(4, 3))
    assert not layer.track_running_stats


def test_features_are_split_whatever_holds_them():
    first, second = torch.randn(5, 2), torch.randn(5, 3, 4, 4)
    assert all(map(torch.equal, split_batch(first, 2), (first[:2], first[2:])))
    (left, (nested,)), (right, (nested_right,)) = split_batch((first, [second]), 2)
    assert torch.equal(left, first[:2])
    assert torch.equal(right, first[2:])
    assert torch.equal(nested, second[:2])
    assert torch.equal(nested_right, second[2:])
    whole, nothing = split_batch(first, 5)
    assert len(whole) == 5
    assert len(nothing) == 0
