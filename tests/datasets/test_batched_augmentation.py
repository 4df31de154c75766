import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.structures import DataSample

from mmbss.datasets import AugmentingDataPreprocessor
from mmbss.datasets.batched_augmentation import random_crop, random_flip


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
def test_each_crop_is_a_window_of_the_padded_image(dtype):
    images = torch.randint(1, 256, (30, 2, 5, 7)).to(dtype)
    cropped = random_crop(images, 2)
    assert cropped.dtype is dtype
    offsets = set()
    for image, crop in zip(images, cropped, strict=True):
        padded = F.pad(image, (2,) * 4)
        windows = {
            (top, left): padded[:, top : top + 5, left : left + 7]
            for top in range(5)
            for left in range(5)
        }
        matches = [at for at, window in windows.items() if torch.equal(window, crop)]
        assert len(matches) == 1
        offsets.update(matches)
    assert len(offsets) > 5


def test_every_shift_is_equally_likely():
    images = torch.zeros(9000, 1, 3, 3)
    images[:, :, 1, 1] = 1.0
    shares = random_crop(images, 1).mean(dim=0)[0]
    torch.testing.assert_close(shares, torch.full((3, 3), 1 / 9), rtol=0, atol=0.017)


def test_no_padding_is_no_crop():
    images = torch.rand(4, 1, 3, 3)
    assert torch.equal(random_crop(images, 0), images)


@pytest.mark.parametrize('probability', [0.0, 0.5, 1.0])
def test_images_are_mirrored_with_the_probability(probability):
    images = torch.rand(2000, 1, 2, 3)
    out = random_flip(images, probability)
    mirrored = (out == images.flip(-1)).flatten(1).all(dim=1)
    kept = (out == images).flatten(1).all(dim=1)
    assert (mirrored ^ kept).all()
    assert mirrored.float().mean().item() == pytest.approx(probability, abs=0.06)


@pytest.mark.parametrize('augment', [random_crop, random_flip])
def test_empty_batch_stays_empty(augment):
    assert augment(torch.zeros(0, 3, 4, 4), 1).shape == (0, 3, 4, 4)


def data(count=6):
    images = torch.randint(1, 256, (count, 3, 8, 8), dtype=torch.uint8)
    return dict(inputs=images, data_samples=[DataSample().set_gt_label(i) for i in range(count)])


SETTINGS = dict(mean=[100.0, 110.0, 120.0], std=[50.0, 60.0, 70.0], to_rgb=True)


def test_without_augmentation_it_is_mmpretrains_preprocessor():
    batch = data()
    own = AugmentingDataPreprocessor(**SETTINGS)(batch, training=True)
    expected = ClsDataPreprocessor(**SETTINGS)(batch, training=True)
    assert torch.equal(own['inputs'], expected['inputs'])


def test_test_batches_are_not_augmented():
    batch = data()
    own = AugmentingDataPreprocessor(crop_padding=4, flip_probability=1.0, **SETTINGS)
    expected = ClsDataPreprocessor(**SETTINGS)(batch)
    assert torch.equal(own(batch)['inputs'], expected['inputs'])


def test_training_batches_are_augmented_before_they_are_normalised():
    batch = data()
    own = AugmentingDataPreprocessor(crop_padding=3, flip_probability=0.5, **SETTINGS)
    torch.manual_seed(1)
    out = own(batch, training=True)['inputs']
    torch.manual_seed(1)
    pixels = random_flip(random_crop(batch['inputs'], 3), 0.5)
    assert torch.equal(out, ClsDataPreprocessor(**SETTINGS)(dict(inputs=pixels))['inputs'])
    black = (torch.zeros(3) - torch.tensor([120.0, 110.0, 100.0]).flip(0)) / torch.tensor(
        [50.0, 60.0, 70.0]
    )
    assert torch.isclose(out.amin(dim=(0, 2, 3)), black).all(), 'the padding is black'


def test_the_batch_it_is_given_is_not_changed():
    batch = data()
    before = batch['inputs'].clone()
    AugmentingDataPreprocessor(crop_padding=2, flip_probability=1.0)(batch, training=True)
    assert torch.equal(batch['inputs'], before)


def test_images_in_a_list_are_stacked():
    batch = data()
    own = AugmentingDataPreprocessor(flip_probability=1.0)
    stacked = own(batch, training=True)['inputs']
    listed = own(dict(batch, inputs=list(batch['inputs'])), training=True)['inputs']
    assert torch.equal(stacked, listed)


@pytest.mark.parametrize(
    'settings',
    [dict(crop_padding=-1), dict(flip_probability=-0.1), dict(flip_probability=1.1)],
)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match='crop_padding must be at least 0 and flip_probability'):
        AugmentingDataPreprocessor(**settings)


def labelled(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


def test_labels_stay_those_of_their_samples():
    samples = labelled(4, 1, 2)
    cast = AugmentingDataPreprocessor().cast_data(samples)
    assert [sample.gt_label.tolist() for sample in cast] == [[4], [1], [2]]


def test_labels_move_to_the_device_together():
    own = AugmentingDataPreprocessor()
    own._device = torch.device('meta')
    assert all(s.gt_label.device.type == 'meta' for s in own.cast_data(labelled(4, 1)))


def test_samples_with_more_than_a_label_are_moved_one_by_one():
    own = AugmentingDataPreprocessor()
    own._device = torch.device('meta')
    samples = labelled(4, 1)
    samples[0].set_gt_score(torch.tensor([0.2, 0.8]))
    moved = own.cast_data(samples)
    assert moved[0].gt_score.device.type == moved[1].gt_label.device.type == 'meta'


def test_images_of_several_sizes_cannot_be_augmented():
    batch = dict(inputs=[torch.zeros(1, 4, 4), torch.zeros(1, 5, 4)], data_samples=labelled(0, 1))
    with pytest.raises(RuntimeError, match='equal size'):
        AugmentingDataPreprocessor(crop_padding=1)(batch, training=True)
    assert AugmentingDataPreprocessor()(batch)['inputs'].shape == (2, 1, 5, 4)
