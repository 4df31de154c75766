"""Whether a value from a config fits what a class is annotated to take.

Imports nothing heavy.
"""

import inspect
import math
import types
import typing
from collections.abc import Iterator
from typing import Any

from torch import Tensor

#: What a config file can spell, but for dicts; and tensors, for which nothing else stands.
PLAIN = (bool, int, float, str, type(None), list, tuple, Tensor)
UNIONS = (typing.Union, types.UnionType)
#: Arguments of others and of ours for which infinity stands for something.
MAY_BE_INFINITE = ('bounds', 'norm', 'norm_type', 'stopping_threshold')


def classes_of(hint: Any, default: Any = None) -> tuple[type, ...]:
    """Classes that an annotation, or else a default, allows; empty for any."""
    if hint is inspect.Parameter.empty:
        return (type(default),) if isinstance(default, (bool, int, float)) else ()
    if typing.get_origin(hint) in UNIONS:
        parts = [classes_of(part) for part in typing.get_args(hint)]
        return sum(parts, ()) if all(parts) else ()
    kind = type(None) if hint is None else typing.get_origin(hint) or hint
    return (kind,) if isinstance(kind, type) and kind is not Any else ()


def fits(value: Any, classes: tuple[type, ...], strictly: bool = True) -> bool:
    """Whether a value from a config may go where these classes are expected.

    Lenient where code is: a dict may stand for what is built from it, any sequence for another,
    and an object that no config file can spell for anything. But True and False are no numbers,
    and of the numbers 0 and 1 alone stand for them.

    Args:
        value: The value.
        classes: Of which it should be one; none stand for any.
        strictly: Whether to refuse what only a careless annotation leaves out: None, fractions
            and sequences in the place of a whole number, and numbers in that of a name.

    Examples:
        >>> fits(3, (float,)), fits(True, (float,)), fits(0, (bool,)), fits(3, (bool,))
        (True, False, True, False)
    """
    numbers = {bool, int, float} & {*classes}
    if isinstance(value, bool) and numbers and bool not in numbers:
        return False
    if not classes or isinstance(value, classes) or not isinstance(value, (*PLAIN, dict)):
        return True
    if value is None:
        return not strictly
    if isinstance(value, (list, tuple)):
        return bool({list, tuple} & {*classes} or (not strictly and numbers | {dict} & {*classes}))
    if isinstance(value, (int, float)) and numbers:
        if numbers == {bool}:
            return value in (0, 1)
        return float in numbers or not strictly or float(value).is_integer()
    if {*classes} == {str} and not isinstance(value, str):  # such as mmengine's loss_scale
        return not strictly
    return not {*classes} <= {*PLAIN, *(() if isinstance(value, dict) else (dict,))}


def has_fitting_items(values: Any, hint: Any) -> bool:
    """Whether a list or tuple from a config has as many items as an annotation says, that fit it.

    True of all that is neither, and where the annotation says nothing of items.

    Examples:
        >>> pair = tuple[float, float] | None
        >>> has_fitting_items((0.0, 1.0), pair), has_fitting_items((0.0, 1.0, 2.0), pair)
        (True, False)
    """
    if not isinstance(values, (list, tuple)):
        return True
    options = typing.get_args(hint) if typing.get_origin(hint) in UNIONS else (hint,)
    said = [(typing.get_origin(each), typing.get_args(each)) for each in options]
    said = [(kind, items) for kind, items in said if isinstance(kind, type) and items]
    for kind, items in said:
        if issubclass(kind, tuple) and items[-1] is not Ellipsis:
            wanted = items
        else:
            wanted = items[:1] * len(values)
        if len(wanted) == len(values) and all(
            fits(value, classes_of(item)) and has_fitting_items(value, item)
            for value, item in zip(values, wanted, strict=True)
        ):
            return True
    return not said or any(hint in (list, tuple) for hint in options)


def numbers_in(value: Any) -> Iterator[float]:
    """The fractional numbers in a setting, but for those of dicts, which are checked by name."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from numbers_in(item)


def allows_number(key: str, value: Any) -> bool:
    """Whether a setting has no number that is NaN, or infinite where that means nothing."""
    numbers = [each for each in numbers_in(value) if not math.isfinite(each)]
    return not numbers or (key in MAY_BE_INFINITE and not any(map(math.isnan, numbers)))
