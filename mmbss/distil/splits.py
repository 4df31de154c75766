"""Which image is trained on, which chooses, which tests: pure functions of what files show."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from mmbss.distil.images import ImageFile

#: Share of each class that a split is given that the folder does not have.
HELD_OUT = 0.15
#: In the order in which a picture that lies in two of them is left to one: the last keeps it.
ORDER = ('train', 'val', 'test')
Splits = dict[str, list[ImageFile]]


def conflicting(images: Sequence[ImageFile]) -> list[list[ImageFile]]:
    """Files of each picture that lies in several classes, of which none can be believed."""
    return [group for group in _groups(images) if len({each.label for each in group}) > 1]


def leaking(images: Sequence[ImageFile]) -> list[list[ImageFile]]:
    """Files of each picture that lies in several splits, those that stay in theirs first."""
    found = []
    for group in _groups(images):
        kept = max((each.split for each in group), key=ORDER.index)
        if any(each.split != kept for each in group):
            found.append(sorted(group, key=lambda each: each.split != kept))
    return found


def _groups(images: Sequence[ImageFile]) -> list[list[ImageFile]]:
    """Files by what they show, in the order of the first of each."""
    groups: dict[str, list[ImageFile]] = defaultdict(list)
    for each in images:
        groups[each.digest].append(each)
    return list(groups.values())


def divide(images: Sequence[ImageFile], missing: Sequence[str], seed: int) -> Splits:
    """Put files into splits; of those that are missing, hold out the same share of each class.

    Files that show the same picture go the same way. A class gives at least one picture to each
    split that is held out.

    Args:
        images: Readable files.
        missing: ``val``, ``test`` or both: held out from what is to be trained on.
        seed: Of the draw.

    Returns:
        Files by split, each in the order of their paths.

    Examples:
        >>> files = [ImageFile(f'a/{n}.png', 'a', digest=str(n)) for n in range(10)]
        >>> {name: len(own) for name, own in divide(files, ['val', 'test'], seed=0).items()}
        {'train': 6, 'val': 2, 'test': 2}
    """
    splits: Splits = {name: [] for name in ORDER}
    by_class: dict[str, list[ImageFile]] = defaultdict(list)
    for each in images:
        if each.split == 'train':
            by_class[each.label].append(each)
        else:
            splits[each.split].append(each)
    generator = np.random.default_rng(seed)
    for label in sorted(by_class):
        groups = _groups(by_class[label])
        order = generator.permutation(len(groups))
        count = max(round(HELD_OUT * len(groups)), 1)
        for number, row in enumerate(order):
            place = number // count
            split = missing[place] if place < len(missing) else 'train'
            splits[split] += groups[row]
    return {
        name: sorted(own, key=lambda each: (each.label, each.path)) for name, own in splits.items()
    }


def too_few(images: Sequence[ImageFile], missing: Sequence[str]) -> dict[str, int]:
    """How many pictures classes have that have too few to train on and to hold out.

    Args:
        images: As for :func:`divide`.
        missing: The same.
    """
    own = [each for each in images if each.split == 'train']
    counts = Counter(group[0].label for group in _groups(own))
    return {label: count for label, count in counts.items() if count < len(missing) + 1}


def strange_classes(images: Sequence[ImageFile]) -> Mapping[str, list[str]]:
    """Classes of each split that the training images do not have."""
    known = {each.label for each in images if each.split == 'train'}
    strange: dict[str, set[str]] = defaultdict(set)
    for each in images:
        if each.label not in known:
            strange[each.split].add(each.label)
    return {split: sorted(labels) for split, labels in strange.items()}
