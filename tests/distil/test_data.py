import os
import shutil

import pytest

from mmbss.distil.data import look_at, size_of
from mmbss.engine.errors import ConfigError


def said(data):
    return '\n'.join(data.notes)


def test_what_is_written(write_images, tmp_path):
    data = look_at(write_images({'cat': 10, 'a dog': 10}), seed=0, threads=1)
    data.write(tmp_path / 'out')
    lines = {
        split: (tmp_path / 'out' / f'{split}.txt').read_text().splitlines()
        for split in ('train', 'val', 'test')
    }
    assert data.classes == ['a dog', 'cat']
    assert [len(own) for own in lines.values()] == [12, 4, 4]
    assert all(
        line.endswith(' 0' if 'dog' in line else ' 1') for own in lines.values() for line in own
    )
    assert (data.size, data.same_size, data.is_grey, data.is_small) == (8, True, False, True)


def test_order_of_files_and_place_do_not_matter(write_images, tmp_path):
    root = write_images({'a': 5, 'b': 5})
    shutil.copytree(root, tmp_path / 'moved')
    first, second = (look_at(path, 0, 1) for path in (root, tmp_path / 'moved'))
    assert first.digest == second.digest
    (root / 'a' / '000.png').unlink()
    assert look_at(root, 0, 1).digest != first.digest


def test_leaks_stay_out_of_the_training(write_images):
    root = write_images({'train/a': 6, 'train/b': 6, 'val/a': 3, 'val/b': 3})
    shutil.copy(root / 'val/a/000.png', root / 'train/a/copy.png')
    data = look_at(root, 0, 1)
    paths = [each.path for each in data.splits['train']]
    assert 'train/a/copy.png' not in paths
    assert 'val/a/000.png' in [each.path for each in data.splits['val']]
    assert 'two splits' in said(data)
    assert 'val/a/000.png = train/a/copy.png' in said(data)


def test_what_is_left_out_is_named(write_images):
    root = write_images({'a': 6, 'b': 6, 'empty': 0, '.hidden': 1})
    (root / 'a' / 'broken.png').write_bytes(b'')
    shutil.copy(root / 'a/000.png', root / 'b/copy.png')
    data = look_at(root, 0, 1)
    for words in ('a/broken.png', 'a/000.png = b/copy.png', 'empty', '.hidden'):
        assert words in said(data)
    used = [each.path for own in data.splits.values() for each in own]
    assert not {'a/broken.png', 'a/000.png', 'b/copy.png'} & {*used}
    assert data.classes == ['a', 'b']


def test_classes_of_which_nothing_can_be_used(write_images):
    root = write_images({'a': 6, 'b': 6, 'broken': 0})
    (root / 'broken' / 'a.png').write_bytes(b'')
    shutil.copytree(root / 'b', root / 'c')
    with pytest.raises(ConfigError, match='usable images: 1'):
        look_at(root, 0, 1)
    write_images({'d': 6}, size=9)
    data = look_at(root, 0, 1)
    assert data.classes == ['a', 'd']
    assert 'no image can be used (3): b, broken, c' in said(data)


@pytest.mark.parametrize('linked', [False, True])
def test_a_copy_of_all_images_beside_their_classes(linked, write_images):
    root = write_images({'bird': 5, 'cat': 4})
    if linked:
        (root / 'all').symlink_to('.')
    else:
        for folder in ('bird', 'cat'):
            shutil.copytree(root / folder, root / 'all' / folder)
    with pytest.raises(
        ConfigError,
        match=r'usable images: 0.*: put right what is left out\n'
        r'.*lies in two classes \(9\): all/bird/000.png = bird/000.png',
    ):
        look_at(root, 0, 1)


def test_why_there_is_too_little_left_is_said(write_images):
    root = write_images({'a': 6, 'b': 6, 'd': 6})
    shutil.copy(root / 'a/000.png', root / 'b/000.png')
    for row in range(1, 5):
        (root / 'b' / f'{row:03}.png').write_bytes(b'')
    with pytest.raises(
        ConfigError, match=r'class b has 1 .* at least 3\n.*cannot be used \(4\): b/001.png'
    ):
        look_at(root, 0, 1)
    root = write_images({'train/a': 3, 'train/b': 3}, root=root.parent / 'leaking')
    shutil.copytree(root / 'train', root / 'val')
    with pytest.raises(
        ConfigError,
        match=r'val has classes.*\n.*train holds no.*\n.*two splits \(6\): val/a/000\.png',
    ):
        look_at(root, 0, 1)
    root = write_images({'train/a': 6, 'train/b': 6, 'val/a': 0}, root=root.parent / 'empty')
    (root / 'val/a/0.png').write_bytes(b'')
    with pytest.raises(ConfigError, match=r'val holds no image .*\n.*cannot be used \(1\)'):
        look_at(root, 0, 1)
    root = write_images({'a': 6}, root=root.parent / 'one')
    (root / 'a/broken.png').write_bytes(b'')
    with pytest.raises(ConfigError, match=r'usable images: 1.*put the images'):
        look_at(root, 0, 1)


def test_names_that_the_export_would_refuse_are_refused_first(write_images):
    with pytest.raises(ConfigError, match='must be of one line'):
        look_at(write_images({'a': 6, 'b\x0bc': 6}), seed=0, threads=1)


def test_folders_within_classes(write_images):
    data = look_at(write_images({'cat': 4, 'dog': 4, 'dog/puppy': 4}), 0, 1)
    assert data.classes == ['cat', 'dog']
    assert 'folders within it (1): dog/puppy' in said(data)


def test_grey(write_images):
    data = look_at(write_images({'a': 4, 'b': 4}, mode='L'), 0, 1)
    assert data.is_grey
    assert 'all images are grey' in said(data)


@pytest.mark.parametrize(
    ('folders', 'words'),
    [
        ({'a': 5}, 'usable images: 1'),
        ({}, 'usable images: 0'),
        ({'a': 5, 'b': 2}, 'class b has 2'),
        ({'train/a': 5, 'train/b': 5, 'val/c': 1}, 'val has classes that train has not'),
        ({'train/a': 5, 'train/b': 5, 'val/a': 0}, 'val holds no image'),
    ],
)
def test_refused(write_images, tmp_path, folders, words):
    (tmp_path / 'images').mkdir()
    with pytest.raises(ConfigError, match=words):
        look_at(write_images(folders), 0, 1)


@pytest.mark.parametrize('name', ['a\nline', ' a', os.fsdecode(b'\xff')])
def test_names_that_a_list_cannot_hold(write_images, name):
    with pytest.raises(ConfigError, match='rename'):
        look_at(write_images({name: 4, 'b': 4}), 0, 1)


def test_size_follows_the_shorter_sides(image_file):
    assert size_of([image_file('a', 'a')] * 3) == 8
