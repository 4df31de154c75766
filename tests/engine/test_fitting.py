from collections.abc import Sequence
from math import inf, nan

import pytest
import torch

from mmbss.engine.build import check_keys
from mmbss.engine.errors import ConfigError
from mmbss.engine.fitting import allows_number, fits, has_fitting_items


@pytest.mark.parametrize(
    ('value', 'kind', 'expected'),
    [
        (True, int, False),
        (True, float, False),
        (False, float, False),
        (1, float, True),
        (1.0, int, True),
        (1.5, int, False),
        ('1', float, False),
        (1, bool, True),
        (2, bool, False),
        (0.5, bool, False),
        (dict(a=1), float, False),
        ([1], int, False),
        (3, str, False),
        (object(), int, True),
        (torch.zeros(1), int, False),
    ],
)
def test_what_fits_a_class(value, kind, expected):
    assert fits(value, (kind,)) is expected


def test_either_of_two_classes_fits():
    assert fits(True, (int, bool))
    assert fits(None, (int, type(None)))
    assert not fits(None, (int, float))
    assert fits('x', ())


@pytest.mark.parametrize(
    ('value', 'hint', 'expected'),
    [
        ((0.0, 1.0), tuple[float, float], True),
        ([0, 1], tuple[float, float], True),
        ((0.0,), tuple[float, float], False),
        ((0.0, True), tuple[float, float] | None, False),
        ((1, 2, 3), tuple[int, ...], True),
        ((1, 'a'), tuple[int, ...], False),
        (['a', 'b'], Sequence[str], True),
        (['a', 1], Sequence[str], False),
        ([], Sequence[str], True),
        ([[1, 2], [3]], list[list[int]], True),
        ([[1, 'a']], list[list[int]], False),
        ((1, 2), int | tuple[int, int], True),
        ([1, 'a'], list, True),
        ('ab', Sequence[int], True),  # no list or tuple
    ],
)
def test_what_fits_the_items_of_a_list(value, hint, expected):
    assert has_fitting_items(value, hint) is expected


def test_infinity_is_allowed_where_it_means_something():
    assert allows_number('bounds', (-inf, inf))
    assert not allows_number('bounds', (nan, inf))
    assert not allows_number('step_size', inf)
    assert not allows_number('weights', [1.0, [inf]])
    assert allows_number('weights', 10**400)


def test_a_class_of_somebody_else_may_take_infinity():
    class Theirs:
        def __init__(self, start: float = 0.0) -> None: ...

    Theirs.__module__ = 'my_losses'
    check_keys(dict(start=inf), Theirs, 'loss')
    Theirs.__module__ = 'mmbss.losses'
    with pytest.raises(ConfigError, match='must be finite'):
        check_keys(dict(start=inf), Theirs, 'loss')


def test_a_switch_whose_annotation_is_a_number_may_be_one():
    def resize(keep_ratio: int = False) -> None: ...

    check_keys(dict(keep_ratio=True), resize, 'resize')


def test_an_object_without_a_hash_may_be_called():
    class Loss:
        __hash__ = None

        def __call__(self, weight: float = 1.0) -> None: ...

    check_keys(dict(weight=2.0), Loss(), 'loss')
    with pytest.raises(ConfigError, match="no key 'wait'"):
        check_keys(dict(wait=2.0), Loss(), 'loss')


def test_a_class_may_call_itself_as_it_likes():
    class Odd:
        def __init__(this, size):  # noqa: N805
            this.size = size

    check_keys(dict(size=2), Odd, 'odd')
    with pytest.raises(ConfigError, match="odd has no key 'this'"):
        check_keys(dict(size=2, this=1), Odd, 'odd')
