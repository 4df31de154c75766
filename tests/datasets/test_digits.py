import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mmbss.datasets import Digits
from mmbss.datasets.digits import read_digits
from mmbss.engine.errors import ConfigError


@pytest.fixture(scope='module')
def splits():
    return {split: Digits(split) for split in ('train', 'test')}


def arrays(dataset):
    rows = [dataset[row] for row in range(len(dataset))]
    images = np.stack([row['inputs'].numpy()[0] for row in rows])
    return images, np.array([row['data_samples'].gt_label.item() for row in rows])


def test_the_splits_together_are_the_whole_set(splits):
    found = []
    for dataset in splits.values():
        images, labels = arrays(dataset)
        found += [(label, image.tobytes()) for image, label in zip(images, labels, strict=True)]
    digits = load_digits()
    source = np.round(digits.images * 255 / 16).astype(np.uint8)
    expected = [(y, image.tobytes()) for image, y in zip(source, digits.target, strict=True)]
    assert sorted(found) == sorted(expected)


def test_both_splits_hold_every_class_alike(splits):
    shares = [
        np.bincount(arrays(dataset)[1], minlength=10) / len(dataset) for dataset in splits.values()
    ]
    np.testing.assert_allclose(*shares, atol=0.002)


def test_pixels_use_the_whole_range(splits):
    images, _ = arrays(splits['train'])
    assert images.dtype == np.uint8
    assert images.shape == (1257, 8, 8)
    assert (images.min(), images.max()) == (0, 255)


def test_the_split_is_always_the_same(splits):
    images, _ = arrays(splits['test'])
    np.random.seed(5)
    again, _ = arrays(Digits('test'))
    np.testing.assert_array_equal(images, again)


def test_classes_are_the_ten_digits(splits):
    assert tuple('0123456789') == splits['train'].CLASSES


def test_mean_and_deviation_in_the_config_are_those_of_the_training_images(splits, root):
    from mmengine.config import Config

    config = Config.fromfile(root / 'configs' / '_base_' / 'datasets' / 'digits_bs64.py')
    images, _ = arrays(splits['train'])
    assert config.data_preprocessor.mean == [pytest.approx(images.mean(), abs=0.05)]
    assert config.data_preprocessor.std == [pytest.approx(images.std(), abs=0.05)]


def test_other_splits_are_refused():
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        Digits('val')


def test_a_missing_scikit_learn_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    monkeypatch.setattr('mmbss.datasets.digits.read_digits', read_digits.__wrapped__)
    with pytest.raises(ConfigError, match=r"sklearn .*pip install 'mmbss\[digits\]'"):
        Digits('test')
