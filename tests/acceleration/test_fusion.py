import shutil

import pytest
import torch
from torch import nn

from mmbss.acceleration.split_graph import trace
from mmbss.acceleration.winograd import use_winograd

pytestmark = pytest.mark.skipif(shutil.which('c++') is None, reason='there is no C++ compiler')


class Block(nn.Module):
    """Two convolutions with a way round them; what follows the second is given."""

    def __init__(self, end):
        super().__init__()
        self.first = nn.Conv2d(16, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.end = end
        use_winograd(self.requires_grad_(False), '2x2')

    def forward(self, x):
        return self.end(self, x).flatten(1)[:, :10]


def residual(block, x):
    return (block.second(block.first(x).relu()) + x).relu()


def residual_first_and_in_place(block, x):
    y = block.second(block.first(x).relu_())
    y += x
    return y.relu_()


def other_order(block, x):
    return (x + block.second(block.first(x).relu())).relu()


def input_changed_in_place(block, x):
    y = x.clone()
    z = block.first(y)
    y.relu_()
    return (z + y).relu()


def used_twice(block, x):
    y = block.first(x)
    return y.relu() + y


def other_shape(block, x):
    return block.first(x) + x.mean(dim=(2, 3), keepdim=True)


def relu_before_addition(block, x):
    return block.second(block.first(x).relu()).relu() + x


def scaled(block, x):
    return torch.add(block.first(x), x, alpha=2.0)


def added_to_in_place(block, x):
    y = x * 2
    y += block.first(x)
    return y.relu()


FUSED = dict(add=0, relu=0)


@pytest.mark.parametrize(
    ('end', 'left'),
    [
        (residual, FUSED),
        (residual_first_and_in_place, FUSED),
        (other_order, FUSED),
        (input_changed_in_place, dict(add=1, relu=2)),
        (used_twice, dict(add=1, relu=1)),
        (other_shape, dict(add=1, relu=0)),
        (relu_before_addition, dict(add=1, relu=0)),
        (scaled, dict(add=1, relu=0)),
        (added_to_in_place, dict(add=1, relu=1)),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)
def test_what_can_be_merged_is_and_the_results_stay(end, left):
    network, images = (
        Block(end).eval(),
        torch.randn(20, 16, 6, 6).contiguous(memory_format=torch.channels_last),
    )
    halves = trace(network, images)
    expected, saved = halves.forward(images)
    cotangent = torch.randn_like(expected)
    gradient = halves.backward(20, *saved, cotangent)
    halves.fuse()
    logits, saved = halves.forward(images)
    assert torch.equal(logits, expected)
    assert torch.equal(halves.backward(20, *saved, cotangent), gradient)
    names = [str(node.target) for node in halves.forward.graph.nodes]
    counts = {kind: sum(f'aten.{kind}' in name for name in names) for kind in left}
    assert counts == left


def test_additions_of_gradients_are_merged_too():
    halves = trace(
        Block(residual).eval(),
        torch.randn(20, 16, 6, 6).contiguous(memory_format=torch.channels_last),
    )
    halves.fuse()
    assert not any('aten.add' in str(node.target) for node in halves.backward.graph.nodes)


def test_an_addition_that_puts_out_another_layout_is_left():
    network, images = Block(other_order).eval(), torch.randn(20, 16, 6, 6)
    halves = trace(network, images)
    halves.fuse()
    assert torch.equal(halves.forward(images)[0], network(images))
