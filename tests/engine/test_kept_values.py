import random
from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import pytest
import torch

from mmbss.engine.kept_values import (
    amount,
    is_plain,
    packed,
    same,
    trace,
    unchanged_attributes,
    unpacked,
)
from mmbss.engine.plain_pickle import LEAVES

VALUES = [
    3,
    None,
    [1, (2.5, True)],
    {'a': {0: [1]}},
    Counter(a=2),
    OrderedDict(b=1, a=2),
    defaultdict(list, {3: [1]}),
    {'a': deque([1, 2], maxlen=2)},
    {1, 2},
    frozenset([(1, 2)]),
    np.float32(1.5),
    np.bool_(True),
    np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::2],
    {'seen': [np.zeros(2), {1}]},
]


def parts(value):
    if type(value) in (list, tuple):
        return [each for item in value for each in parts(item)]
    return parts([*value.values()]) if type(value) is dict else [value]


@pytest.mark.parametrize('value', VALUES, ids=lambda each: type(each).__name__)
def test_values_come_back_as_they_were(value):
    assert is_plain(value)
    stored = packed(value)
    assert all(isinstance(each, LEAVES) for each in parts(stored))
    again = unpacked(stored)
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    assert getattr(again, 'dtype', None) == getattr(value, 'dtype', None)
    assert same(packed(again), stored)


@pytest.mark.parametrize(
    'value',
    ['text', {'a': 'b'}, [b''], defaultdict(lambda: 7), {(1, 2): 3}, np.array(['a']), object()],
    ids=lambda each: type(each).__name__,
)
def test_anything_else_is_not_stored(value):
    assert amount(value) == float('inf')


def test_what_is_stored_does_not_change_with_the_value():
    value = [np.zeros(1), torch.zeros(1), {1}, deque([0])]
    stored = packed(value)
    value[0] += 1
    value[1] += 1
    value[2].add(2)
    value[3][0] += 1
    assert same(stored, packed([np.zeros(1), torch.zeros(1), {1}, deque([0])]))


class Box:
    def __init__(self):
        self.names, self.made = ['a'], lambda: 3


CHANGES = [
    (Box(), lambda box: box.names.append('b')),
    ({'a'}, lambda names: names.add('b')),
    (defaultdict(lambda: 7), lambda counts: counts['a']),
    ([torch.zeros(3), 'x'], lambda values: values[0].add_(1)),
    (np.array(['a', 'b']), lambda names: names.sort() or names.put(0, 'c')),
    (random.Random(0), lambda generator: generator.random()),
    (np.random.default_rng(0), lambda generator: generator.random()),
]


@pytest.mark.parametrize(('value', 'change'), CHANGES, ids=lambda each: type(each).__name__)
def test_changes_in_place_are_noticed(value, change):
    before = trace(value)
    assert trace(value) == before
    change(value)
    assert trace(value) != before


def test_what_is_large_or_tells_nothing_is_one_object():
    class Closed:
        def __reduce_ex__(self, protocol):
            raise OSError

    for value in (Closed(), ['x' * 2**21], torch.nn.Linear(2, 2)):
        assert trace(value) == trace(value)


class Counting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.steps, self.seen, self.mean, self.last = 0, [], torch.zeros(2), None
        self.register_buffer('total', torch.zeros(1))

    def forward(self, x):
        self.steps += 1
        self.seen.append(self.steps)
        self.mean += 1
        self.last = x
        self.fresh = self.steps
        self.total += 1
        return x


def test_what_modules_count_is_put_back():
    model = torch.nn.Sequential(Counting(), Counting())
    mean = model[1].mean
    with unchanged_attributes(model):
        model(torch.ones(1))
    counting = model[1]
    assert (counting.steps, counting.seen, counting.last) == (0, [], None)
    assert counting.mean is mean
    assert not counting.mean.any()
    assert not hasattr(counting, 'fresh')
    assert counting.total == 1
