"""Arguments that are out of their range, each refused in one line.

The first argument of each function is the object whose arguments they are, which is named in the
message; None names nobody. NaN is in no range, and None, where it stands for something, in each.

Imports nothing heavy.
"""

from collections.abc import Callable, Collection
from typing import Any

from mmbss.engine.errors import refuse


def check_at_least(owner: object, least: float, **values: float | None) -> None:
    """Refuse numbers below the least one.

    Examples:
        >>> check_at_least(None, 1, num_steps=0)
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: num_steps must be at least 1, got 0
    """
    words = f'must be at least {least}' if least else 'must not be negative'
    _refuse_unless(lambda value: value >= least, words, owner, values)


def check_positive(owner: object, **values: float | None) -> None:
    """Refuse numbers that are not above 0."""
    _refuse_unless(lambda value: value > 0, 'must be positive', owner, values)


def check_choice(owner: object, choices: Collection[str], **values: str | None) -> None:
    """Refuse what is none of the choices.

    Examples:
        >>> check_choice(None, ('stop', 'skip'), action='ignore')
        Traceback (most recent call last):
        mmbss.engine.errors.ConfigError: action must be 'stop' or 'skip', got 'ignore'
    """
    *others, last = map(repr, choices)
    words = f'must be {", ".join(others)} or {last}'
    _refuse_unless(lambda value: value in choices, words, owner, values)


def _refuse_unless(
    is_right: Callable[[Any], bool], words: str, owner: object, values: dict[str, Any]
) -> None:
    name = '' if owner is None else f'{type(owner).__name__}: '
    refuse(
        f'{name}{key} {words}, got {value!r}'
        for key, value in values.items()
        if value is not None and not is_right(value)
    )
