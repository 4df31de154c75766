import pytest
import torch
from torch import nn

from mmbss.distillers.features import recorded_outputs


def test_every_call_is_recorded_with_its_graph():
    layer = nn.Linear(2, 3)
    inputs = torch.randn(4, 2)
    with recorded_outputs(layer) as outputs:
        first, second = layer(inputs), layer(2 * inputs)
    assert outputs[0] is first
    assert outputs[1] is second
    outputs[1].sum().backward()
    assert layer.weight.grad is not None


def test_calls_after_the_context_are_not_recorded():
    layer = nn.Linear(2, 3)
    with recorded_outputs(layer) as outputs:
        pass
    layer(torch.zeros(1, 2))
    assert outputs == []
    assert not layer._forward_hooks


def test_the_hook_is_removed_after_an_error():
    layer = nn.Linear(2, 3)
    with pytest.raises(RuntimeError), recorded_outputs(layer):
        layer(torch.zeros(1, 5))
    assert not layer._forward_hooks
