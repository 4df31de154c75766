import random
from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import pytest
import torch

from mmbss.engine.files.storable import storable
from mmbss.engine.kept_values import amount, copied, is_plain, same, trace

VALUES = [
    3,
    None,
    float('nan'),
    [1, (2.5, True)],
    {'a': {0: [torch.ones(2)]}},
    Counter(a=2),
    OrderedDict(b=1, a=2),
    {1, 2},
    {'seen': [(), {1}]},
]


@pytest.mark.parametrize('value', VALUES, ids=lambda each: type(each).__name__)
def test_what_a_checkpoint_can_hold_is_stored_as_it_is(value):
    assert is_plain(value)
    stored = copied(value)
    assert storable(dict(value=stored))['value'] is stored
    assert type(stored) is type(value)
    assert repr(stored) == repr(value)
    assert same(stored, value)


@pytest.mark.parametrize('value', [np.float64(1.5), np.bool_(True), np.int64(3)])
def test_a_number_of_numpy_becomes_one_of_python(value):
    assert is_plain(value)
    assert type(copied(value)) in (float, bool, int)
    assert copied(value) == value


@pytest.mark.parametrize(
    'value',
    [
        *('text', {'a': 'b'}, [b''], {(1, 2): 3}, {(1, 2)}, frozenset([1]), object()),
        *(np.array(['a']), np.zeros(2), np.str_('a'), deque([1]), defaultdict(list)),
        *(np.float32(0.1), np.uint8(1)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_anything_else_is_not_stored(value):
    assert amount(value) == float('inf')


def test_what_is_stored_does_not_change_with_the_value():
    value = [torch.zeros(1), {1}, {'a': [0]}]
    stored = copied(value)
    value[0] += 1
    value[1].add(2)
    value[2]['a'].append(1)
    assert same(stored, [torch.zeros(1), {1}, {'a': [0]}])


class Box:
    def __init__(self):
        self.names, self.made = ['a'], lambda: 3


CHANGES = [
    (Box(), lambda box: box.names.append('b')),
    ({'a'}, lambda names: names.add('b')),
    (defaultdict(lambda: 7), lambda counts: counts['a']),
    ([torch.zeros(3), 'x'], lambda values: values[0].add_(1)),
    (deque([1]), lambda queue: queue.append(2)),
    (np.zeros(2), lambda sums: sums.put(0, 1)),
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


def test_a_list_that_holds_itself_cannot_be_stored():
    endless = []
    endless.append(endless)
    assert not is_plain(endless)
