"""Names of classes, in an order that two sides have to share."""

import unicodedata
from collections.abc import Sequence
from typing import Any


def as_names(classes: Any) -> tuple[str, ...] | None:
    """Names of classes, None where there are none.

    A letter with an accent is one character in all of them: file systems write it as two.

    Examples:
        >>> accent = chr(0x301)
        >>> as_names([f'cafe{accent}', 5]) == (f'caf{chr(0xE9)}', '5')
        True
        >>> as_names(5) is None, as_names([]) is None
        (True, True)
    """
    if not isinstance(classes, (list, tuple)) or not classes:
        return None
    return tuple(unicodedata.normalize('NFC', str(name)) for name in classes)


def moved_name(names: Sequence[str], known: Sequence[str]) -> tuple[str, int, int] | None:
    """The first name that stands for another class than it is known for, None where none does.

    Returns:
        The name, the number that it is known by, and the one that it has here, from 0.

    Examples:
        >>> moved_name(['a', 'b', 'bird'], ['plane', 'bird', 'car'])
        ('bird', 1, 2)
        >>> moved_name(['avion', 'bird', 'voiture'], ['plane', 'bird', 'car'])
    """
    for number, name in enumerate(names):
        if name in known and [*known[number : number + 1]] != [name]:
            return name, [*known].index(name), number
    return None
