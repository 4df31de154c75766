"""Each mistake ended in a wrong accuracy or wrong names before, or in a traceback."""

import types

import mmcv
import numpy as np
import pytest
import torch
from mmpretrain.datasets import CustomDataset

from mmbss.datasets import ArrayDataset, ClassSubset, Digits, StratifiedSubset
from mmbss.engine.class_names import are_same
from mmbss.engine.errors import ConfigError
from mmbss.engine.trial import sides as data_sides
from mmbss.engine.trial.sides import Side, compare_sides, doubts, labels_of, side_of
from mmbss.engine.trial.training import try_training

ANIMALS = ('cat', 'dog', 'horse')


@pytest.fixture
def folders(tmp_path):
    """Make a folder of images, two a class, and the dataset of it."""

    def make(name, classes, empty=(), **dataset):
        for each in (*classes, *empty):
            (tmp_path / name / each).mkdir(parents=True)
        for each in classes:
            for i in range(2):
                mmcv.imwrite(np.zeros((8, 8), np.uint8), str(tmp_path / name / each / f'{i}.png'))
        return side_of(CustomDataset(data_prefix=str(tmp_path / name), **dataset), name)

    return make


@pytest.fixture
def arrays(tmp_path):
    """Make a dataset of arrays with the given labels."""

    def make(name, labels, **more):
        file = tmp_path / f'{name}.npz'
        images = np.zeros((len(labels), 8, 8), np.uint8)
        np.savez(file, images=images, labels=np.array(labels), **more)
        return side_of(ArrayDataset(str(file)), name)

    return make


def annotated(tmp_path, lines):
    file = tmp_path / 'annotations.txt'
    file.write_text('\n'.join(f'{i}.png {label}' for i, label in enumerate(lines)))
    return side_of(CustomDataset(ann_file=str(file), data_prefix=str(tmp_path)), 'train')


# ---------------------------------------------------------------- folders


def test_a_class_that_validation_lacks_shifts_its_labels(folders):
    with pytest.raises(ConfigError, match=r"^val: .*lacks 'dog', .*empty ones"):
        compare_sides([folders('train', ANIMALS), folders('val', ('cat', 'horse'))], 3)


def test_an_empty_folder_is_the_cure(folders):
    sides = [folders('train', ANIMALS), folders('val', ('cat', 'horse'), empty=['dog'])]
    compare_sides(sides, 3)


@pytest.mark.parametrize('hidden', ['.ipynb_checkpoints', '.git', '__MACOSX', '__pycache__'])
@pytest.mark.parametrize('count', [3, 4])
def test_a_hidden_folder_is_no_class(folders, hidden, count):
    with pytest.raises(ConfigError, match=f'^train: .{hidden}. would be a class.*remove it$'):
        compare_sides([folders('train', ANIMALS, empty=[hidden])], count)


def test_an_empty_folder_is_named_where_there_is_a_class_too_many(folders):
    with pytest.raises(ConfigError, match=r"num_classes=3, but train has 4 .*remove 'bird', which"):
        compare_sides([folders('train', ANIMALS, empty=['bird'])], 3)


@pytest.mark.parametrize('count', [10, 2])
def test_the_number_of_folders_is_the_number_of_classes(folders, count):
    with pytest.raises(ConfigError, match=rf'num_classes={count}, but .* 3 .*set .*num_classes=3$'):
        compare_sides([folders('train', ANIMALS)], count)


@pytest.mark.parametrize(
    ('classes', 'given'),
    [
        (ANIMALS, ('horse', 'cat', 'dog')),
        (ANIMALS, ('bird', 'cat', 'dog')),  # only some of the names are folders
        (('1', '2', '10'), ('1', '2', '10')),  # folders are sorted as text
    ],
    ids=str,
)
def test_names_in_another_order_than_the_folders_are_refused(folders, classes, given):
    with pytest.raises(ConfigError, match=r'^train: .* numbered by their folders'):
        compare_sides([folders('train', classes, metainfo=dict(classes=given))], 3)


def test_other_names_than_those_of_the_folders_may_be_given(folders):
    compare_sides([folders('train', ('n01', 'n02'), metainfo=dict(classes=('cat', 'dog')))], 2)


def test_one_class_is_refused(folders, arrays):
    with pytest.raises(ConfigError, match='one class'):
        compare_sides([folders('train', ['cat'])], 1)
    with pytest.raises(ConfigError, match='one class'):
        compare_sides([arrays('train', [0, 0])], 1)


# ---------------------------------------------------------------- labels


def test_labels_that_are_shifted_are_refused(arrays):
    sides = [arrays('train', range(5)), arrays('val', range(1, 6))]
    with pytest.raises(ConfigError, match=r'val has labels 1 to 5.* from 0 to 4: subtract 1'):
        compare_sides(sides, 5)
    with pytest.raises(ConfigError, match='val has labels 1 to 5, train 0 to 4: number'):
        compare_sides(sides, 6)


@pytest.mark.parametrize(
    ('labels', 'cure'),
    [
        ([1, 2, 3], 'subtract 1'),
        ([0, 1, 7], 'num_classes=8'),
        ([0, -1, 2], 'from 0 to 2: correct them$'),
    ],
    ids=str,
)
def test_labels_that_are_no_class_are_refused(tmp_path, labels, cure):
    with pytest.raises(ConfigError, match=rf'train has labels {min(labels)} to .*{cure}'):
        compare_sides([annotated(tmp_path, labels)], 3)


def test_classes_without_a_sample_in_training_are_said(arrays):
    sides = [arrays('train', [0, 1]), arrays('val', [0, 1, 2])]
    compare_sides(sides, 3)
    assert [*doubts(sides)] == ['val has labels [2], of which train has no sample']


def test_a_part_of_a_dataset_may_lack_classes():
    part = ClassSubset(Digits('train'), drop=[9])
    sides = [side_of(part, 'train'), side_of(Digits('test'), 'val')]
    compare_sides(sides, 10)
    assert not [*doubts(sides)]


def test_a_part_is_seen_through(arrays):
    sides = [
        side_of(StratifiedSubset(dict(type='mmbss.Digits', split='train'), fraction=0.1), 'train'),
        arrays('val', [0, 1], classes=np.array(('zero', 'one'))),
    ]
    assert sides[0].names == tuple('0123456789')
    with pytest.raises(ConfigError, match=r'val: .*lacks'):
        compare_sides(sides, 10)


@pytest.mark.parametrize('labels', [None, [[0, 1], [2]], ['0', '1']], ids=str)
def test_labels_that_are_none_or_several_are_left_alone(labels):
    class Dataset:
        data_list = None

        def __len__(self):
            return 2

        def get_data_info(self, row):
            return {} if labels is None else dict(gt_label=labels[row])

    assert labels_of(Dataset()) is None
    compare_sides([side_of(Dataset(), 'train')], 3)


def test_of_large_datasets_that_are_not_in_memory_the_first_and_last_labels_are_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(data_sides, 'MOST_LABELS', 4)
    labels = annotated(tmp_path, [-1, *range(10)]).labels
    assert labels[[0, -1]].tolist() == [-1, 9]
    assert len(labels) == 4


# ---------------------------------------------------------------- names of several sides


@pytest.mark.parametrize(
    ('others', 'message'),
    [
        (ANIMALS, None),
        (('Cat', 'DOG', ' horse'), None),
        (('horse', 'dog', 'cat'), "in another order than those of train, 'cat', 'dog', 'horse'"),
        (('cat', 'dog', 'donkey'), "lacks 'horse' and has 'donkey' too.*same metainfo.classes"),
        (('a', 'b', 'c'), "lacks 'cat'.* has 'a'"),
        ((*ANIMALS, 'bird'), "has 'bird' too"),
        (None, None),
    ],
    ids=str,
)
@pytest.mark.parametrize('where', ['val', 'model.teacher.checkpoint'])
def test_names_are_compared_where_both_sides_know_them(others, message, where):
    sides = [Side('train', ANIMALS), Side(where, others)]
    if message is None:
        compare_sides(sides, 3)
        return
    with pytest.raises(ConfigError, match=rf'{where}: .*{message}'):
        compare_sides(sides, None)


def test_every_side_is_named():
    sides = [Side('train', ANIMALS), Side('val', ANIMALS[:2]), Side('test', ANIMALS[1:])]
    with pytest.raises(ConfigError) as error:
        compare_sides(sides, 3)
    assert [line.split(':')[0] for line in error.value.args] == ['val', 'test']


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (tuple('0123456789'), None),
        (tuple('1234567890'), 'in another order'),
        (tuple('abcdefghij'), 'same metainfo.classes'),
    ],
    ids=['same', 'order', 'names'],
)
def test_a_teacher_has_the_classes_of_the_training(
    make_runner, make_teacher, resnet_config, classes, message
):
    teacher = make_teacher()
    content = torch.load(teacher['checkpoint'])
    content['meta'] = dict(dataset_meta=dict(classes=classes))
    torch.save(content, teacher['checkpoint'])
    losses = dict(loss_kd=dict(type='mmbss.KDLoss'))
    model = resnet_config(teacher=teacher, losses=losses) | dict(type='mmbss.Distiller')
    runner = make_runner(model, epochs=1)
    if message is None:
        try_training(runner)
        return
    with pytest.raises(ConfigError, match=rf'^model\.teacher\.checkpoint: .*{message}'):
        try_training(runner)


# ---------------------------------------------------------------- names that libraries spell


MANY = tuple(f'class {number}' for number in range(200))


@pytest.mark.parametrize(
    ('ours', 'theirs', 'same'),
    [
        (('tiger cat', 'lynx, catamount'), ('Tiger_Cat', 'catamount'), True),
        (('tiger cat', 'lynx, catamount'), ('catamount', 'tiger cat'), False),
        (('cat', 'dog'), ('cat', 'hound'), False),
        (MANY, (*MANY[:-1], 'crane bird'), True),  # one of a hundred
        (MANY, (*MANY[:-1], MANY[0]), False),
        (MANY, (MANY[1], MANY[0], *MANY[2:]), False),
        (MANY, (*MANY[:-3], 'a', 'b', 'c'), False),
        (MANY, MANY[:-1], False),
        (('+', '-'), ('-', '+'), False),
    ],
)
def test_synonyms_and_single_other_names(ours, theirs, same):
    assert are_same(ours, theirs) is same


@pytest.mark.parametrize(
    'names',
    [
        ('<=50K', '>50K'),
        ('-1', '+1'),
        ('C', 'C++', 'C#'),
        ('Smith, Anna', 'Smith, John'),
        ('0,5 mm', '0,7 mm'),
        (f'{chr(0x915)}{chr(0x93F)}', f'{chr(0x915)}{chr(0x940)}'),
    ],
)
def test_names_that_differ_in_signs_alone_have_an_order(names):
    turned = (*names[1:], names[0])
    spaced = tuple(f'{name} ' for name in turned)
    assert are_same(names, names)
    assert not are_same(names, turned)
    assert not are_same(names, spaced)


def test_folders_are_compared_with_names_of_one_way_to_write_an_accent():
    folders = dict(zip((f'e{chr(0x301)}', f'u{chr(0x308)}'), (0, 1), strict=True))
    data = types.SimpleNamespace(
        folder_to_idx=folders, metainfo=dict(classes=[*folders][::-1]), data_list=[{}]
    )
    side = data_sides.side_of(data, 'train')
    assert any('numbered by their folders' in line for line in data_sides.within(side, 2))


def test_the_classes_of_imagenet_as_libraries_name_them():
    from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    ours, theirs = tuple(IMAGENET_CATEGORIES), tuple(_IMAGENET_CATEGORIES)
    assert are_same(ours, theirs)
    assert not are_same(ours, (*theirs[1:], theirs[0]))


class Files:
    """A dataset that tells the paths of its images."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def __len__(self):
        return len(self.numbers)

    def get_data_info(self, row):
        return dict(img_path=f'{self.numbers[row]}.png')


class Pixels(Files):
    """A dataset that tells its images."""

    def get_data_info(self, row):
        return dict(img=np.full((2, 2), self.numbers[row]))


@pytest.mark.parametrize('kind', [Files, Pixels])
@pytest.mark.parametrize(
    ('trained', 'other', 'shared'),
    [
        (range(20), range(20), '20 of 20'),
        (range(20), range(18, 38), '2 of 20'),
        (range(20), range(19, 39), None),  # as near duplicates are
        (range(20), range(20, 40), None),
        ([0] * 20, [0] * 20, None),
        (range(100_000), range(100_000), '256 of 256'),
    ],
)
def test_images_of_the_training_are_noticed_in_others(kind, trained, other, shared):
    found = data_sides.doubts_of_overlap(kind(*trained), kind(*other), 'val_dataloader')
    assert [line.partition(' images')[0] for line in found] == ([shared] if shared else [])


def test_a_dataset_that_hides_its_images_is_left_alone():
    assert not [*data_sides.doubts_of_overlap([1, 2], [1, 2], 'val_dataloader')]
