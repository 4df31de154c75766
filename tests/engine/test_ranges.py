import math

import pytest

from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_at_least, check_choice, check_positive


class Owner:
    """Whose arguments they are."""


def test_what_is_in_its_range_passes_and_none_stands_for_something():
    check_at_least(Owner(), 1, steps=1, samples=None)
    check_positive(Owner(), radius=1e-9, size=None)
    check_choice(Owner(), dict(stop=1, skip=2), action='skip', other=None)


@pytest.mark.parametrize(
    ('check', 'message'),
    [
        (lambda: check_at_least(Owner(), 1, steps=0), 'Owner: steps must be at least 1, got 0'),
        (lambda: check_at_least(None, 0, beta=-1), '^beta must not be negative, got -1'),
        (lambda: check_at_least(None, 0, beta=math.nan), 'beta .* got nan'),
        (lambda: check_positive(Owner(), radius=0), 'Owner: radius must be positive, got 0'),
        (lambda: check_positive(None, radius=math.nan), 'radius .* got nan'),
        (lambda: check_choice(None, ('a', 'b', 'c'), by='d'), "by must be 'a', 'b' or 'c', got"),
    ],
)
def test_what_is_not_is_refused(check, message):
    with pytest.raises(ConfigError, match=message):
        check()


def test_each_argument_that_is_wrong_has_a_line():
    with pytest.raises(ConfigError) as error:
        check_positive(None, radius=0, size=1, step=-1)
    assert len(error.value.args) == 2
