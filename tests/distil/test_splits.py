from collections import Counter

import pytest

from mmbss.distil.splits import conflicting, divide, leaking, strange_classes, too_few


@pytest.fixture
def files(image_file):
    return [image_file(f'{label}/{n:02}.png', label) for label in 'ab' for n in range(20)]


def test_same_share_of_each_class(files):
    splits = divide(files, ['val', 'test'], seed=0)
    for split, count in dict(train=14, val=3, test=3).items():
        assert Counter(each.label for each in splits[split]) == dict(a=count, b=count)
    assert sorted(each.path for own in splits.values() for each in own) == [f.path for f in files]


def test_a_seed_draws_the_same_again(files):
    assert divide(files, ['val'], seed=1) == divide(files, ['val'], seed=1)
    assert divide(files, ['val'], seed=1) != divide(files, ['val'], seed=2)


def test_small_classes_give_one(image_file):
    files = [image_file(f'a/{n}', 'a') for n in range(3)]
    splits = divide(files, ['val', 'test'], seed=0)
    assert [len(own) for own in splits.values()] == [1, 1, 1]


def test_given_splits_stay(files, image_file):
    given = [image_file('val/a/0.png', 'a', 'val')]
    splits = divide([*files, *given], ['test'], seed=0)
    assert splits['val'] == given
    assert len(splits['test']) == 6


def test_twins_go_together(image_file):
    files = [image_file(f'a/{n}', 'a', shows=n // 2 + 1) for n in range(40)]
    splits = divide(files, ['val', 'test'], seed=0)
    shown = [{each.digest for each in own} for own in splits.values()]
    assert len(set.union(*shown)) == sum(map(len, shown)) == 20


def test_one_picture_in_two_classes(image_file):
    twins = [image_file('a/0', 'a', shows=1), image_file('b/0', 'b', shows=1)]
    same_class = [image_file('a/1', 'a', shows=2), image_file('a/2', 'a', shows=2)]
    assert conflicting([*twins, *same_class]) == [twins]


@pytest.mark.parametrize(('splits', 'kept'), [(('train', 'val'), 'val'), (('test', 'val'), 'test')])
def test_one_picture_in_two_splits(image_file, splits, kept):
    twins = [image_file(split, 'a', split, shows=1) for split in splits]
    (found,) = leaking([*twins, image_file('x', 'a', 'train')])
    assert found[0].split == kept
    assert len(found) == 2


def test_twins_within_a_split_are_no_leak(image_file):
    assert leaking([image_file(name, 'a', 'train', shows=1) for name in 'xy']) == []


def test_too_few(image_file):
    files = [image_file(f'a/{n}', 'a', shows=n // 2 + 1) for n in range(4)]  # two pictures
    assert too_few(files, ['val']) == {}
    assert too_few(files, ['val', 'test']) == {'a': 2}


def test_strange_classes(image_file):
    files = [image_file('1', 'a', 'train'), image_file('2', 'b', 'val')]
    assert strange_classes(files) == {'val': ['b']}
