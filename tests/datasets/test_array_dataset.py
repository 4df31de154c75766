import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader

from mmbss.datasets import ArrayDataset
from mmbss.engine.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(**arrays):
        path = tmp_path / 'data.npz'
        np.savez(path, **arrays)
        return str(path)

    return write


IMAGES = np.arange(5 * 4 * 6 * 3, dtype=np.uint8).reshape(5, 4, 6, 3)
LABELS = np.array([0, 1, 2, 1, 0])


def test_gives_images_channels_first_with_their_labels(write):
    dataset = ArrayDataset(write(images=IMAGES, labels=LABELS))
    assert len(dataset) == 5
    for row in range(5):
        sample = dataset[row]
        assert torch.equal(sample['inputs'], torch.from_numpy(IMAGES[row]).permute(2, 0, 1))
        assert sample['data_samples'].gt_label.tolist() == [LABELS[row]]


def test_images_need_no_labels(write):
    path = write(images=IMAGES, classes=np.array(['cat', 'dog']))
    dataset = ArrayDataset(path)
    assert dataset.CLASSES == ('cat', 'dog')
    for sample in (dataset[3], *dataset.__getitems__([3])):
        assert torch.equal(sample['inputs'], torch.from_numpy(IMAGES[3]).permute(2, 0, 1))
        assert 'gt_label' not in sample['data_samples']
        assert sample['data_samples'].sample_idx == 3


def test_labels_by_another_name_are_not_taken_for_none(write):
    with pytest.raises(ValueError, match=r"lacks the arrays \['labels'\]; it has \['images', 'y'"):
        ArrayDataset(write(images=IMAGES, y=LABELS))


def test_grey_images_get_a_channel(write):
    dataset = ArrayDataset(write(images=IMAGES[..., 0], labels=LABELS))
    assert dataset[2]['inputs'].shape == (1, 4, 6)
    assert torch.equal(dataset[2]['inputs'][0], torch.from_numpy(IMAGES[2, ..., 0].copy()))


def test_class_names_come_from_the_file(write):
    path = write(images=IMAGES, labels=LABELS, classes=np.array(['cat', 'dog', 'newt']))
    assert ArrayDataset(path).CLASSES == ('cat', 'dog', 'newt')


def test_class_names_may_be_bytes(write):
    path = write(images=IMAGES, labels=LABELS, classes=np.array([b'cat', b'dog', 'né'.encode()]))
    assert ArrayDataset(path).CLASSES == ('cat', 'dog', 'né')


def test_class_names_in_another_encoding_are_refused(write):
    path = write(images=IMAGES, labels=LABELS, classes=np.array([b'cat', b'dog', b'n\xe9']))
    with pytest.raises(ConfigError, match=r"classes must be names in UTF-8, got b'n\\xe9'"):
        ArrayDataset(path)


@pytest.mark.parametrize('classes', ['cat', [['cat', 'dog', 'newt']], ['cat'] * 3, [0.5, 1, 2], []])
def test_what_names_no_classes_is_refused(write, classes):
    with pytest.raises(ConfigError, match=r'classes must be \(K,\) different names'):
        ArrayDataset(write(images=IMAGES, labels=LABELS, classes=np.array(classes)))


def test_class_names_of_the_config_win(write):
    path = write(images=IMAGES, labels=LABELS, classes=np.array(['cat', 'dog', 'newt']))
    dataset = ArrayDataset(path, metainfo=dict(classes=('a', 'b', 'c')))
    assert dataset.CLASSES == ('a', 'b', 'c')
    with pytest.raises(ConfigError, match='another order'):
        len(ArrayDataset(path, metainfo=dict(classes=['dog', 'cat', 'newt'])))
    with pytest.raises(ConfigError, match='newt is class 2 there and 1 here'):
        len(ArrayDataset(path, metainfo=dict(classes=['cat', 'newt', 'toad'])))


def test_names_that_a_config_leaves_open_are_those_of_the_file(write):
    path = write(images=IMAGES, labels=LABELS, classes=np.array(['cat', 'dog', 'cow']))
    assert ArrayDataset(path, metainfo=dict(classes=None)).CLASSES == ('cat', 'dog', 'cow')


@pytest.mark.parametrize('kind', ['>f4', '>i2', '>u2'])
def test_images_of_another_byte_order_are_read(write, kind):
    dataset = ArrayDataset(write(images=IMAGES.astype(kind), labels=LABELS))
    assert torch.equal(dataset[2]['inputs'].byte(), torch.from_numpy(IMAGES[2]).permute(2, 0, 1))


def test_a_part_can_be_taken(write):
    path = write(images=IMAGES, labels=LABELS)
    assert len(ArrayDataset(path, indices=2)) == 2
    assert ArrayDataset(path, indices=[4, 2])[0]['data_samples'].gt_label.item() == 0


def test_pipeline_transforms_the_images(write):
    pipeline = [dict(type='RandomFlip', prob=1.0), dict(type='PackInputs')]
    dataset = ArrayDataset(write(images=IMAGES, labels=LABELS), pipeline=pipeline)
    flipped = torch.from_numpy(IMAGES[0][:, ::-1].copy()).permute(2, 0, 1)
    assert torch.equal(dataset[0]['inputs'], flipped)
    assert torch.equal(
        torch.from_numpy(dataset.get_data_info(0)['img']), torch.from_numpy(IMAGES[0])
    )


@pytest.mark.parametrize('workers', [0, 2])
def test_loads_through_workers(write, workers):
    dataset = ArrayDataset(write(images=IMAGES, labels=LABELS))
    loader = DataLoader(dataset, batch_size=5, num_workers=workers, collate_fn=default_collate)
    (batch,) = loader
    assert batch['inputs'].shape == (5, 3, 4, 6)


def test_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"data_file: no file 'no/such\.npz'"):
        ArrayDataset('no/such.npz')


def test_file_that_would_run_code_is_refused(write):
    path = write(images=np.array([object()] * 5, dtype=object), labels=LABELS)
    with pytest.raises(ValueError, match='object'):
        ArrayDataset(path)


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(x=IMAGES, labels=LABELS), r"lacks the arrays \['images'\]; it has \['labels', 'x'\]"),
        (dict(images=IMAGES, labels=LABELS[:4]), r'got \(5, 4, 6, 3\) and \(4,\)'),
        (dict(images=IMAGES[0, 0], labels=LABELS), r'must be \(N, H, W\)'),
        (dict(images=IMAGES, labels=LABELS[:, None]), r'labels \(N,\)'),
        (dict(images=IMAGES, labels=LABELS.astype(float)), 'class indices from 0, got float64'),
        (dict(images=IMAGES, labels=LABELS - 1), 'class indices from 0'),
    ],
)
def test_arrays_that_do_not_fit_are_refused(write, arrays, message):
    with pytest.raises(ValueError, match=message):
        ArrayDataset(write(**arrays))


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_images_that_are_not_finite_are_counted(write, bad):
    images = IMAGES.astype(np.float32)
    images[1, 0, 0, 0] = images[3, 1, 2, 0] = images[3, 0, 0, 0] = bad
    with pytest.raises(ValueError, match='2 of 5 images hold NaN or infinity'):
        ArrayDataset(write(images=images, labels=LABELS))


def test_no_image_at_all_is_an_empty_dataset(write):
    assert len(ArrayDataset(write(images=IMAGES[:0], labels=LABELS[:0]))) == 0


@pytest.mark.parametrize('images', [IMAGES, IMAGES[..., 0]])
def test_a_whole_batch_is_the_same_as_its_samples(write, images):
    dataset = ArrayDataset(write(images=images, labels=LABELS), indices=[4, 0, 3])
    rows = [2, 0, 2]
    for own, single in zip(dataset.__getitems__(rows), [dataset[row] for row in rows], strict=True):
        assert torch.equal(own['inputs'], single['inputs'])
        assert own['inputs'].dtype is single['inputs'].dtype
        sample, expected = own['data_samples'], single['data_samples']
        assert torch.equal(sample.gt_label, expected.gt_label)
        assert sample.gt_label.dtype is expected.gt_label.dtype
        assert sample.metainfo == expected.metainfo


@pytest.mark.parametrize(
    'settings',
    [
        dict(pipeline=[dict(type='RandomFlip', prob=1.0), dict(type='PackInputs')]),
        dict(serialize_data=True),
    ],
)
def test_other_settings_give_whole_batches_too(write, settings):
    dataset = ArrayDataset(write(images=IMAGES, labels=LABELS), **settings)
    for row, sample in enumerate(dataset.__getitems__(range(5))):
        assert torch.equal(sample['inputs'], dataset[row]['inputs'])


def test_a_pipeline_that_is_switched_later_is_used(write):
    path = write(images=IMAGES, labels=LABELS)
    dataset = ArrayDataset(path)
    plain = dataset.__getitems__([0, 1])
    flip = [dict(type='RandomFlip', prob=1.0), dict(type='PackInputs')]
    dataset.pipeline = ArrayDataset(path, pipeline=flip).pipeline
    for before, after in zip(plain, dataset.__getitems__([0, 1]), strict=True):
        assert torch.equal(after['inputs'], before['inputs'].flip(-1))


def test_what_is_of_other_datasets_is_refused(write):
    path = write(images=IMAGES, labels=LABELS)
    ArrayDataset(path, ann_file='', data_prefix={}, data_root='')
    with pytest.raises(ConfigError, match='ann_file, data_root not used'):
        ArrayDataset(path, ann_file='a.txt', data_root='b')


@pytest.mark.parametrize('dtype', [np.uint16, np.uint32])
def test_channels_of_wide_pixels_can_be_turned(write, dtype):
    images = IMAGES.astype(dtype) * 200
    (sample,) = ArrayDataset(write(images=images, labels=LABELS)).__getitems__([2])
    expected = torch.from_numpy(images[2].astype(np.int64)).permute(2, 0, 1).flip(0)
    assert torch.equal(sample['inputs'].flip(0).long(), expected)
