"""Where the images of a folder lie: splits, classes, files, and what is passed over."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmbss.engine.class_names import as_names
from mmbss.engine.errors import ConfigError, MissingFileError, first_of
from mmbss.export.image_files import opens_as_image, walk_images

#: Names that the folder of a split may have.
SPLITS = dict(
    train=('train', 'training'), val=('val', 'valid', 'validation'), test=('test', 'testing')
)


@dataclass
class Layout:
    """Files of images by split and class.

    Attributes:
        files: Path below the folder, with slashes, class and split of each.
        splits: Those that the folder has, in the order of :data:`SPLITS`.
        empty: Folders of classes without an image.
        deeper: Folders of images within those of classes.
        hidden: Files and folders whose names begin with a dot.
        others: Further files and folders that are passed over.
    """

    files: list[tuple[str, str, str]] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    deeper: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def read_layout(root: Path) -> Layout:
    """Find the images of ``root/[train|val|test/]CLASS/...``.

    Raises:
        MissingFileError: If there is no such folder.
        ConfigError: If there are splits and no images to train on, a split twice, what seems to be
            one under a name of its own, or images beside the splits; or if all files of a class are
            images that no training reads.
    """
    if not root.is_dir():
        raise MissingFileError(f'no folder {root}: give the folder of your images')
    layout = Layout()
    entries = sorted(each.name for each in root.iterdir())
    found: dict[str, str] = {}
    for split, names in SPLITS.items():
        own = [each for each in entries if each.lower() in names and (root / each).is_dir()]
        if len(own) > 1:
            raise ConfigError(f'{root}: {" and ".join(own)} are the same split: keep one')
        if own:
            found[split] = own[0]
    if found and 'train' not in found:
        raise ConfigError(
            f'{root} has {" and ".join(found.values())}, but no train: put the images to learn '
            'from into train/CLASS/, or all of them into CLASS/'
        )
    layout.splits = [*found]
    for split, folder in (found or {'train': ''}).items():
        _read_classes(root, folder, split, layout)
    if not found:
        _refuse_splits(root, layout)
    else:
        others = [each for each in entries if each not in found.values()]
        _refuse_images_beside(root, [*found.values()], others)
        _set_aside(layout, '', others)
    return layout


def _refuse_splits(root: Path, layout: Layout) -> None:
    """Refuse folders such as ``training_set/CLASS``, which would be classes."""
    with_images = {path.rpartition('/')[0] for path, _, _ in layout.files}
    labels = dict.fromkeys(label for _, label, _ in layout.files)
    found = [each for each in labels if names_split(each) and each not in with_images]
    if found:
        raise ConfigError(
            f'{root}: {" and ".join(found)} would be classes, but they hold no images, only '
            'folders with images, and are called like splits: rename them to train, val and test'
        )


def _refuse_images_beside(root: Path, splits: list[str], others: list[str]) -> None:
    """Refuse images beside splits: of a split that is not known, or of classes as that one is."""
    folders = [each for each in others if (root / each).is_dir() and each[0] != '.']
    found = [each for each in folders if any(names for _, names, _ in walk_images(root / each))]
    if found:
        raise ConfigError(
            f'{root}: {first_of(found)} holds images, beside {" and ".join(splits)}: if it is a '
            'split, call it train, val or test; if it is a class, as '
            f'{" and ".join(splits)} then is, rename that one; else move it elsewhere'
        )


def names_split(name: str) -> bool:
    """Whether the name of a folder has that of a split among its words.

    Examples:
        >>> [names_split(name) for name in ('seg_train', 'TestSet', 'trains', 'contest')]
        [True, True, False, False]
    """
    words = re.findall('[A-Z]?[a-z]+|[A-Z]+', name)
    return any(word.lower() in names for word in words for names in SPLITS.values())


def _read_classes(root: Path, folder: str, split: str, layout: Layout) -> None:
    """Add the files of all classes of a split."""
    entries = sorted(each.name for each in (root / folder).iterdir())
    classes = [each for each in entries if (root / folder / each).is_dir() and each[0] != '.']
    _set_aside(layout, folder, [each for each in entries if each not in classes])
    for name, label in zip(classes, as_names(classes) or (), strict=True):
        begin = f'{folder}/{name}'.lstrip('/')
        paths = list(_walk(root, begin, layout))
        layout.files += [(path, label, split) for path in paths]
        if not paths:
            _refuse_unread(root / begin)
            layout.empty.append(begin)


def _refuse_unread(folder: Path) -> None:
    """Refuse a class of images of which none is read, since it would vanish."""
    for place, _, others in walk_images(folder):
        for name in filter(opens_as_image, others):
            if (place / name).is_file():
                raise ConfigError(
                    f'{place / name} is of a kind that is not read here, and so are all images of '
                    f'the class {folder.name}: convert them to .png or .jpg'
                )


def _walk(root: Path, begin: str, layout: Layout) -> Iterator[str]:
    """Paths of the images below a class, also in folders of its own."""
    for folder, images, others in walk_images(root / begin):
        place = folder.relative_to(root).as_posix()
        _set_aside(layout, place, others)
        if images and place != begin:
            layout.deeper.append(place)
        yield from (f'{place}/{each}' for each in images)


def _set_aside(layout: Layout, folder: str, names: list[str]) -> None:
    for name in names:
        place = layout.hidden if name[0] == '.' else layout.others
        place.append(f'{folder}/{name}'.lstrip('/'))
