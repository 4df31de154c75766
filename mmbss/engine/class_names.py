"""Names of classes, in an order that two sides have to share."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

Names = tuple[str, ...]


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
        >>> moved_name(['Dog', 'Cat'], ['cat', 'dog'])
        ('Dog', 1, 0)
        >>> moved_name(['avion', 'bird', 'voiture'], ['plane', 'bird', 'car'])
    """
    plain = [_plain(each) for each in known]
    for number, name in enumerate(names):
        # another spelling is the same name where no second class has it
        places = [place for place, each in enumerate(known) if each == name]
        places = places or [place for place, each in enumerate(plain) if each == _plain(name)]
        if number not in places and (name in known or len(places) == 1):
            return name, places[0], number
    return None


def are_same(ours: Names, theirs: Names) -> bool:
    """Whether names stand for the same classes in the same order.

    They may differ in spelling, and each may list synonyms between commas, of which one that no
    other class has is enough, as the libraries name the classes of ImageNet. One in a hundred may
    share its name with another class, or have one that is nowhere else.

    Examples:
        >>> are_same(('tiger cat', 'lynx, catamount'), ('Tiger_cat', 'lynx'))
        True
        >>> are_same(('C', 'C++'), ('C++', 'C')), are_same(('< 5 mm', '> 5 mm'), ('>5mm', '<5mm'))
        (False, False)
    """
    if len(ours) != len(theirs) or {*ours} == {*theirs}:
        return ours == theirs
    own, other = ([_synonyms(name) for name in names] for names in (ours, theirs))
    counts = [Counter(synonym for each in side for synonym in each) for side in (own, other)]
    shared = counts[0].keys() & counts[1].keys()
    telling = {synonym for synonym in shared if all(count[synonym] == 1 for count in counts)}
    doubtful = [
        (this, that)
        for name, this, known, that in zip(ours, own, theirs, other, strict=True)
        if name != known and not this & that & telling
    ]
    elsewhere = any(that & shared for this, that in doubtful if not this & that)
    return len(doubtful) <= len(ours) // 100 and not elsewhere


def _plain(name: str) -> str:
    """A name without what writers differ in; a name of signs alone as it is."""
    # marks are vowels in some scripts
    kept = [
        each for each in name.casefold() if each.isalnum() or unicodedata.category(each)[0] == 'M'
    ]
    return ''.join(kept) or name


def _synonyms(name: str) -> set[str]:
    return {_plain(each) for each in name.split(',') if each.strip()} or {name}
