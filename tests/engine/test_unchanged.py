import random
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from mmbss.engine.unchanged import unchanged


class Blank:
    pass


class Named(list):
    pass


class Counting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.steps, self.seen, self.mean, self.last = 0, [], torch.zeros(2), None
        self.share, self.by_class = np.float64(0.5), {0: torch.zeros(1)}
        self.phase, self.path = 'first', Path('a')
        self.register_buffer('total', torch.zeros(1))

    def forward(self, x):
        self.steps += 1
        self.seen.append(self.steps)
        self.mean += 1
        self.by_class[0] = self.by_class[0] + 1
        self.share *= 2
        self.last = x
        self.fresh = self.steps
        self.total += 1
        self.phase, self.path = 'later', None
        return x


def test_what_modules_count_is_put_back():
    model = torch.nn.Sequential(Counting(), Counting())
    counting = model[1]
    mean, share, seen = counting.mean, counting.share, counting.seen
    with unchanged(model):
        model(torch.ones(1))
    assert (counting.steps, counting.seen, counting.last) == (0, [], None)
    assert (counting.phase, counting.path) == ('first', Path('a'))
    assert counting.mean is mean
    assert counting.share is share
    assert counting.seen is seen
    assert not mean.any()
    assert not counting.by_class[0].any()
    assert not hasattr(counting, 'fresh')


@dataclass
class Meter:
    total: float = 0.0
    values: list = field(default_factory=list)

    def update(self, value):
        self.total += value
        self.values.append(value)
        self.latest = value


@dataclass(slots=True)
class Slim:
    total: float = 0.0
    meter: Meter = field(default_factory=Meter)


def raise_slim(slim):
    slim.total += 1
    slim.meter.update(1.0)


CHANGES = [
    (deque([1, 2], maxlen=2), lambda values: values.append(3)),
    (np.zeros(2), lambda sums: sums.put(0, np.nan)),
    (np.zeros((), np.float16), lambda mean: mean.fill(3)),
    (np.array(['a', 'b']), lambda names: names.put(0, 'c')),
    (np.array([[1], None], dtype=object), lambda values: values[0].append(2)),
    ({1, 3}, lambda numbers: numbers.add(2)),  # of texts the order would be another each time
    (Counter('aab'), lambda counts: counts.update('ab')),
    (OrderedDict(a=1, b=2), lambda cache: cache.move_to_end('a')),
    (defaultdict(list), lambda groups: groups['a'].append(1)),
    ({'a': {'b': [deque([np.ones(1)])]}}, lambda nested: nested['a']['b'][0][0].fill(2)),
    ((torch.zeros(1), ['x']), lambda pair: (pair[0].add_(torch.nan), pair[1].clear())),
    (torch.zeros(1).expand(3), lambda mean: mean[:1].add_(1)),
    ([{1: torch.zeros(2)[1:]}], lambda values: values[0].pop(1).add_(1)),
    (Blank(), lambda blank: setattr(blank, 'name', 'a')),
    (Named(), lambda names: setattr(names, 'name', 'b')),
    (Meter(), lambda meter: meter.update(2.0)),
    ([Slim()], lambda slims: raise_slim(slims[0])),
    (random.Random(0), random.Random.random),
    (np.random.default_rng(0), lambda generator: generator.random()),
    (np.random.RandomState(0), lambda generator: generator.rand()),
    (torch.Generator().manual_seed(0), lambda generator: torch.rand(1, generator=generator)),
]


def shown(value):
    """All that a value holds, as text."""
    match value:
        case random.Random():
            return repr(value.getstate())
        case np.random.Generator():
            return repr(value.bit_generator.state)
        case np.random.RandomState():
            return repr(value.get_state())
        case torch.Generator():
            return repr(value.get_state().tolist())
        case Meter() | Named() | Blank():
            return repr(vars(value))
    return repr(value)


@pytest.mark.parametrize(('value', 'change'), CHANGES, ids=lambda each: type(each).__name__)
def test_whatever_can_be_changed_in_place_is_put_back(value, change):
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Identity())
    model[0].kept, model[1].same = value, [value]
    before = shown(value)
    with unchanged(model):
        change(value)
        assert shown(value) != before
        model[0].kept = None
    assert model[0].kept is value is model[1].same[0]
    assert shown(value) == before


class Centred(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer('center', torch.zeros(1))
        self.register_buffer('last', None)

    def forward(self, x):
        self.center = 0.9 * self.center + x
        self.last = x


def test_buffers_in_whose_place_others_are_put_are_there_again():
    model = Centred()
    center = model.center
    with unchanged(model):
        model(torch.ones(1))
        center.fill_(2)
    assert model.center is center
    assert model.last is None
    assert center == 0


def test_memory_that_many_share_is_copied_once(monkeypatch):
    model, copies = torch.nn.Identity(), []
    model.bank = torch.zeros(100, 2)
    model.rows = [*model.bank.unbind()]
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, 'clone', lambda t: copies.append(t) or clone(t))
    with unchanged(model):
        model.rows[7].fill_(1)
    assert len(copies) == 1
    assert not model.bank.any()


def test_what_refers_to_itself_ends():
    model = torch.nn.Identity()
    model.kept = [Meter()]
    model.kept.append(model.kept)
    model.kept[0].owner = model.kept
    with unchanged(model):
        model.kept[0].update(1.0)
    assert model.kept[0].total == 0


class Logged:
    def __init__(self, file):
        self.count, self.file = 0, file


def test_objects_of_libraries_stay_as_they_have_become(tmp_path):
    model = torch.nn.Sequential(torch.nn.ReLU())
    with (tmp_path / 'log').open('w') as file:
        model.logged, model.handles = Logged(file), []
        with unchanged(model):
            model.logged.count += 1
            model.handles.append(model[0].register_forward_hook(print))
            model.handle = model.handles[0]
            model.cached = torch.nn.Linear(1, 1)
        assert model.logged.count == 1
        assert model.handles == []
        assert model.handle.id in model[0]._forward_hooks
        assert model.cached is model[1]


def test_read_only_memory_that_is_not_changed_is_not_written_to(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros(3))
    model = torch.nn.Identity()
    model.array = np.load(tmp_path / 'a.npy', mmap_mode='r')
    model.bytes = torch.frombuffer(b'abc', dtype=torch.uint8)
    with unchanged(model):
        pass
    assert model.array.tolist() == [0, 0, 0]


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
