"""Names of classes, in an order that two sides have to share."""

from collections.abc import Sequence


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
