import os

import pytest

from mmbss.distil.layout import read_layout
from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.export.image_files import walk_images


def test_folders_of_classes(write_images):
    layout = read_layout(write_images({'a': 2, 'b/deep': 1}))
    assert layout.files == [
        ('a/000.png', 'a', 'train'),
        ('a/001.png', 'a', 'train'),
        ('b/deep/000.png', 'b', 'train'),
    ]
    assert (layout.splits, layout.deeper) == ([], ['b/deep'])


def test_splits_by_any_of_their_names(write_images):
    layout = read_layout(write_images({'Training/a': 1, 'valid/a': 1, 'testing/a': 1}))
    assert layout.splits == ['train', 'val', 'test']
    assert [split for _, _, split in layout.files] == ['train', 'val', 'test']


def test_what_is_passed_over(write_images):
    root = write_images({'train/a': 1, 'train/.hidden': 1, 'train/empty': 0, 'other/a': 0})
    (root / 'train' / 'a' / 'notes.txt').write_text('')
    (root / 'train' / 'a' / '._000.png').write_text('')
    os.mkfifo(root / 'train' / 'a' / 'pipe.png')
    (root / 'train' / 'a' / 'gone.png').symlink_to('nowhere')
    layout = read_layout(root)
    assert [path for path, _, _ in layout.files] == ['train/a/000.png']
    assert sorted(layout.hidden) == ['train/.hidden', 'train/a/._000.png']
    assert layout.empty == ['train/empty']
    passed_over = ['train/a/gone.png', 'train/a/notes.txt', 'train/a/pipe.png']
    assert sorted(layout.others) == ['other', *passed_over]


def test_links_are_followed_once(write_images):
    root = write_images({'a': 1, 'b': 1})
    (root / 'b' / 'link').symlink_to(root / 'a')
    (root / 'a' / 'round').symlink_to(root)  # where other classes lie
    assert [path for path, _, _ in read_layout(root).files] == [
        'a/000.png',
        'b/000.png',
        'b/link/000.png',
    ]


def test_a_folder_that_cannot_be_read_is_named(write_images, monkeypatch):
    root = write_images({'a/more': 2, 'b': 2})
    scan = os.scandir

    def refuse(path):
        if str(path).endswith('more'):
            raise PermissionError(13, 'Permission denied', str(path))
        return scan(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    with pytest.raises(ConfigError, match=r'a/more: Permission denied: give yourself the right'):
        list(walk_images(root))


def test_no_folder(tmp_path):
    with pytest.raises(MissingFileError, match='nowhere'):
        read_layout(tmp_path / 'nowhere')


@pytest.mark.parametrize(
    'names', [('training_set', 'test_set'), ('seg_train', 'seg_test'), ('TrainImages', 'rest')]
)
def test_splits_by_names_of_their_own_are_no_classes(write_images, names):
    with pytest.raises(ConfigError, match=rf'{names[0]}.* called like splits: rename'):
        read_layout(write_images({f'{name}/{label}': 1 for name in names for label in 'ab'}))


def test_a_class_that_is_called_like_a_split_has_images_of_its_own(write_images):
    layout = read_layout(write_images({'test tube': 1, 'test tube/large': 1, 'flask/small': 1}))
    assert {label for _, label, _ in layout.files} == {'test tube', 'flask'}


@pytest.mark.parametrize('other', ['test_set/a', 'bus', 'more/images/a'])
def test_images_beside_splits_are_refused(write_images, other):
    with pytest.raises(ConfigError, match=rf'{other.split("/")[0]} holds images, beside train'):
        read_layout(write_images({'train/a': 1, 'train/b': 1, other: 1}))


def test_a_class_of_images_that_are_not_read_does_not_vanish(write_images):
    root = write_images({'a': 1, 'b': 1, 'c/deep': 0})
    (root / 'c' / 'deep').mkdir(parents=True, exist_ok=True)
    (root / 'c' / 'deep' / 'one.gif').write_bytes(b'GIF89a')
    with pytest.raises(ConfigError, match=r'one\.gif is of a kind .* class c'):
        read_layout(root)


@pytest.mark.parametrize('folders', [{'val/a': 1, 'test/a': 1}, {'train/a': 1, 'training/a': 1}])
def test_splits_that_are_none(write_images, folders):
    with pytest.raises(ConfigError, match='train'):
        read_layout(write_images(folders))


def test_a_letter_with_an_accent_is_one_in_all_splits(write_images):
    accent = chr(0x301)
    layout = read_layout(write_images({f'train/cafe{accent}': 1, f'val/caf{chr(0xE9)}': 1}))
    assert layout.files == [
        (f'train/cafe{accent}/000.png', f'caf{chr(0xE9)}', 'train'),
        (f'val/caf{chr(0xE9)}/000.png', f'caf{chr(0xE9)}', 'val'),
    ]
