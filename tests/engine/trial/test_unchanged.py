from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
import torch

from mmbss.engine.trial.unchanged import unchanged


class Counting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.steps, self.seen, self.last = 0, [], None
        self.share, self.phase, self.path = np.float64(0.5), 'first', Path('a')
        self.register_buffer('total', torch.zeros(1))
        self.register_buffer('center', torch.zeros(1))
        self.register_buffer('example', None)

    def forward(self, x):
        self.steps += 1
        self.seen.append(self.steps)
        self.share *= 2
        self.last = self.fresh = self.example = x
        self.total += 1
        self.center = 0.9 * self.center + 1
        self.phase, self.path = 'later', None
        return x


def test_what_modules_count_is_put_back():
    model = torch.nn.Sequential(Counting(), Counting())
    counting = model[1]
    seen, center = counting.seen, counting.center
    with unchanged(model):
        model(torch.ones(1))
    assert (counting.steps, counting.seen, counting.last) == (0, [], None)
    assert (counting.share, counting.phase, counting.path) == (0.5, 'first', Path('a'))
    assert counting.seen is seen
    assert not hasattr(counting, 'fresh')
    assert counting.center is center
    assert counting.example is None
    assert counting.total == center == 0


CHANGES = [
    (deque([1, 2], maxlen=2), lambda values: values.append(3)),
    ({1, 3}, lambda numbers: numbers.add(2)),
    (Counter('aab'), lambda counts: counts.update('ab')),
    (OrderedDict(a=1, b=2), lambda cache: cache.move_to_end('a')),
    (defaultdict(list), lambda groups: groups['a'].append(1)),
]


@pytest.mark.parametrize(('value', 'change'), CHANGES, ids=lambda each: type(each).__name__)
def test_what_is_put_into_a_container_is_taken_out(value, change):
    model = torch.nn.Identity()
    model.kept = value
    before = repr(value)
    with unchanged(model):
        change(value)
        assert repr(value) != before
        model.kept = None
    assert model.kept is value
    assert repr(value) == before


def test_what_a_first_pass_makes_for_all_later_ones_stays():
    model = torch.nn.Sequential(torch.nn.ReLU())
    model.handle = model.cached = None
    with unchanged(model):
        model.handle = model[0].register_forward_hook(print)
        model.cached = torch.nn.Linear(1, 1)
    assert model.handle.id in model[0]._forward_hooks
    assert model.cached is model[1]


def test_gradients_buffers_and_modes_are_put_back():
    model = torch.nn.Sequential(Counting(), torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    model[1].weight.grad = gradient = torch.ones(1, 1)
    model[2].eval()
    with unchanged(model):
        model.train()
        model(torch.arange(3.0)[:, None]).sum().backward()
        assert model[1].weight.grad is not gradient
    assert model[1].weight.grad is gradient
    assert gradient == 1
    assert model[1].bias.grad is None
    assert not model[2].training
    assert model[2].num_batches_tracked == model[2].running_mean == model[0].total == 0


def test_a_buffer_that_is_expanded_is_put_back():
    model = torch.nn.Identity()
    model.register_buffer('mean', torch.zeros(1).expand(3))
    with unchanged(model):
        model.mean[:1].add_(1)
    assert not model.mean.any()
