"""The data of a distillation: looked at, divided, and written down as annotation files."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbss.distil.images import ImageFile, read_images
from mmbss.distil.layout import Layout, read_layout
from mmbss.distil.splits import (
    HELD_OUT,
    Splits,
    conflicting,
    divide,
    leaking,
    strange_classes,
    too_few,
)
from mmbss.engine.errors import ConfigError, first_of
from mmbss.engine.files.atomic import whole_file
from mmbss.engine.words import counted
from mmbss.export.student import check_names
from mmbss.studies.settings import digest_of

#: Images whose shorter side has at most so many pixels are shifted and not cropped and scaled.
SMALL = 64
#: Pixels on a side of the images of a training, at most.
LARGEST = 224


@dataclass(frozen=True)
class Data:
    """Images that are divided.

    Attributes:
        root: Their folder.
        classes: Names of the classes in their order.
        splits: Files by split.
        size: Pixels on a side of what networks see.
        same_size: Whether all images have this size already.
        is_grey: Whether all images are.
        notes: Findings, a line each.
        digest: Fingerprint of which picture lies in which split.
    """

    root: Path
    classes: list[str]
    splits: Splits
    size: int
    same_size: bool
    is_grey: bool
    notes: list[str]
    digest: str

    @property
    def counts(self) -> dict[str, Any]:
        """How many images each split has, and the fingerprint of them all."""
        return {split: len(own) for split, own in self.splits.items()} | {'pictures': self.digest}

    @property
    def is_small(self) -> bool:
        """Whether the images are of the kind of CIFAR or MNIST, whose networks stride less."""
        return self.size <= SMALL

    def write(self, folder: Path) -> None:
        """Write ``train.txt``, ``val.txt`` and ``test.txt``: path and number of the class."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        for split, images in self.splits.items():
            lines = [f'{each.path} {numbers[each.label]}\n' for each in images]
            with whole_file(folder / f'{split}.txt') as part:
                part.write_text(''.join(lines), encoding='utf-8')


def look_at(root: Path, seed: int, threads: int, size: int | None = None) -> Data:
    """Read all images of a folder, find what is wrong with them, and divide them.

    Args:
        root: See :func:`~mmbss.distil.layout.read_layout`.
        seed: Of the draw of what is held out.
        threads: Images that are read at the same time.
        size: Pixels on a side of what networks see; None: by the images.

    Raises:
        ConfigError: With a line for each thing that must be put right first.
    """
    layout = read_layout(root)
    unwritable = [repr(path) for path, _, _ in layout.files if not is_writable(path)]
    if unwritable:
        raise ConfigError(
            f'{root}: a list of files cannot hold {first_of(unwritable)}, since there is a line '
            'break, a space at the beginning or what is no text in the name: rename them'
        )
    check_names(sorted({label for _, label, _ in layout.files}), None)
    found = read_images(root, layout.files, threads)
    images = [each for each in found if not each.error]
    conflicts = conflicting(images)
    doubtful = {each for group in conflicts for each in group}
    believed = [each for each in images if each not in doubtful]
    leaks = leaking(believed)
    leaked = {each for group in leaks for each in group if each.split != group[0].split}
    kept = [each for each in believed if each not in leaked]
    missing = [name for name in ('val', 'test') if name not in layout.splits]
    left_out = [*_left_out(layout, found, kept, conflicts, leaks)]
    if mistakes := [*_mistakes(kept, layout, missing)]:
        # which also says why there is so little left
        raise ConfigError(*(f'{root}: {line}' for line in [*mistakes, *left_out]))
    splits = divide(kept, missing, seed)
    classes = sorted({each.label for each in splits['train']})
    own_size = size or size_of(kept)
    return Data(
        root=root,
        classes=classes,
        splits=splits,
        size=own_size,
        same_size={(each.width, each.height) for each in kept} == {(own_size, own_size)},
        is_grey=all(each.is_grey for each in kept),
        notes=[
            *_counts(splits, classes, missing),
            *_looks(kept, own_size),
            # names may hold what no terminal shows
            *(line.encode('utf-8', 'backslashreplace').decode() for line in left_out),
        ],
        digest=digest_of(
            {name: [(each.path, each.digest) for each in own] for name, own in splits.items()}
        ),
    )


def is_writable(path: str) -> bool:
    r"""Whether a line of an annotation file gives this path back as it is.

    Examples:
        >>> is_writable('two words/ü.png'), is_writable('a\n/1.png'), is_writable(' a/1.png')
        (True, False, False)
    """
    is_text = path.encode('utf-8', 'replace').decode() == path
    return is_text and path.lstrip() == path and not {*'\r\n'} & {*path}


def size_of(images: Sequence[ImageFile]) -> int:
    """Pixels on a side for a training: as the images, in steps of networks, at most 224.

    Examples:
        >>> [size_of([ImageFile('', '', width=w, height=500)]) for w in (8, 28, 100, 400)]
        [8, 28, 96, 224]
    """
    side = round(statistics.median(min(each.width, each.height) for each in images))
    if side <= SMALL:
        return max(side + -side % 4, 8)
    return min(side - side % 32, LARGEST)


def _mistakes(images: Sequence[ImageFile], layout: Layout, missing: Sequence[str]) -> Iterator[str]:
    """What must be put right before anything is trained.

    Args:
        images: Those that can be used.
        layout: Where all of them lie.
        missing: Splits to hold out.
    """
    labels = {each.label for each in images}
    if len(labels) < 2:
        to_do = 'put right what is left out'
        if len({label for _, label, _ in layout.files}) < 2:
            to_do = (
                'put the images into a folder for each class, root/CLASS/... or '
                'root/train/CLASS/...'
            )
        yield f'classes with usable images: {len(labels)}, and a classifier needs two: {to_do}'
        return
    for split, strange in strange_classes(images).items():
        yield (
            f'{split} has classes that train has not ({first_of(strange)}): rename or move their '
            'folders, or put right what is left out'
        )
    for label, count in too_few(images, missing).items():
        yield (
            f'class {label} has {count} different images to train on and to hold out '
            f'{" and ".join(missing) or "nothing"}: it needs at least {len(missing) + 1}'
        )
    for split in layout.splits:
        if all(each.split != split for each in images):
            yield f'{split} holds no image that can be used: add some, or remove the folder'


def _counts(splits: Splits, classes: Sequence[str], missing: Sequence[str]) -> Iterator[str]:
    counts = Counter(each.label for each in splits['train'])
    ordered = sorted(classes, key=lambda label: counts[label])
    least, most = ordered[0], ordered[-1]
    yield (
        f'{len(classes)} classes; train {len(splits["train"])}, val {len(splits["val"])}, test '
        f'{len(splits["test"])} images; in train {counts[least]} of {least} to {counts[most]} of '
        f'{most}'
    )
    if missing:
        yield (
            f'held out from the training images, {HELD_OUT:.0%} of each class: '
            f'{" and ".join(missing)}'
        )
    if counts[most] > 10 * counts[least]:
        yield f'few images of some classes: {first_of([f"{c} ({counts[c]})" for c in ordered])}'
    for split in ('val', 'test'):
        absent = sorted({*classes} - {each.label for each in splits[split]})
        if absent:
            yield f'{split} has no image of {first_of(absent)}'
        if len(splits[split]) < 100:
            size = len(splits[split])
            yield f'{split} is small: one image is {100 / size:.1f} points of accuracy'


def _looks(images: Sequence[ImageFile], size: int) -> Iterator[str]:
    sides = sorted(images, key=lambda each: min(each.width, each.height))
    first, middle = sides[0], sides[len(sides) // 2]
    yield (
        f'{middle.width} x {middle.height} pixels in the middle, {first.width} x {first.height} '
        f'the smallest ({first.path}); networks see {size} x {size}'
    )
    if grey := sum(each.is_grey for each in images):
        which = 'all' if grey == len(images) else f'{grey} of {len(images)}'
        yield f'{which} images are grey: read as three equal channels, and not mirrored if all are'
    for words, flagged in (
        ('16 bits a channel, of which the upper 8 are read', [e for e in images if e.is_deep]),
        ('hardly more than one colour', [e for e in images if e.is_flat]),
        ('transparency, which is not seen', [e for e in images if e.has_alpha]),
    ):
        if flagged:
            shown = first_of([each.path for each in flagged])
            yield f'{counted(len(flagged), "image")} with {words}: {shown}'


def _left_out(
    layout: Layout,
    found: Sequence[ImageFile],
    kept: Sequence[ImageFile],
    conflicts: Sequence[Sequence[ImageFile]],
    leaks: Sequence[Sequence[ImageFile]],
) -> Iterator[str]:
    """What is passed over, and why."""
    unreadable = [f'{each.path} ({each.error})' for each in found if each.error]
    two_classes = [' = '.join(each.path for each in group) for group in conflicts]
    two_splits = [' = '.join(each.path for each in group) for group in leaks]
    left = {each.label for each in kept}
    gone = sorted({each.label for each in found} - left)
    for names, words in (
        (unreadable, 'left out, since they cannot be used'),
        (two_classes, 'left out, since the picture lies in two classes'),
        (two_splits, 'left in the first of these alone, since the picture lies in two splits'),
        (layout.empty, 'left out, folders of classes without an image'),
        (gone, 'left out, classes of which no image can be used'),
        (layout.deeper, 'part of their class, whatever they are called, are folders within it'),
        (layout.hidden, 'passed over, hidden files and folders'),
        (layout.others, 'passed over, other files and folders'),
    ):
        if names:
            yield f'{words} ({len(names)}): {first_of(names)}'
