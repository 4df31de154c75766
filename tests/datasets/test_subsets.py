import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, pseudo_collate
from torch.utils.data import DataLoader

from mmbss.datasets import ArrayDataset, ClassSubset, Digits, StratifiedSubset
from mmbss.datasets.subsets import spread_rows, stratified_rows
from mmbss.engine.errors import ConfigError
from mmbss.registry import DATASETS


@pytest.fixture(scope='module')
def digits():
    return Digits('train')


@pytest.mark.parametrize('fraction', [1.0, 0.8, 0.5, 0.2, 0.05])
def test_keeps_the_same_share_of_every_class(fraction):
    labels = np.repeat([0, 1, 2], [100, 40, 60])
    rows = stratified_rows(labels, fraction, seed=0)
    assert np.bincount(labels[rows]).tolist() == [
        round(fraction * count) for count in (100, 40, 60)
    ]
    assert len(set(rows.tolist())) == len(rows)
    assert (np.diff(rows) > 0).all()


def test_the_draw_depends_on_the_seed_alone():
    labels = np.arange(300) % 3
    first, again, other = (stratified_rows(labels, 0.3, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_smaller_share_is_part_of_a_larger_one():
    labels = np.arange(300) % 3
    small, large = (set(stratified_rows(labels, share, seed=0)) for share in (0.2, 0.6))
    assert small < large


@pytest.mark.parametrize('fraction', [0.0, -0.5, 1.5, float('nan')])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match=r'fraction must be in \(0, 1\]'):
        stratified_rows(np.array([0, 1]), fraction, seed=0)


@pytest.mark.parametrize('fraction', [0.1, 0.004])
def test_a_fraction_that_empties_a_class_is_refused_for_the_smallest(fraction):
    labels = np.array([0] * 100 + [7] * 4)
    with pytest.raises(ValueError, match=r'none of the 4 samples of class 7: take more than 0.125'):
        stratified_rows(labels, fraction, seed=0)
    assert 7 in labels[stratified_rows(labels, 0.126, seed=0)]


def test_stratified_subset_is_a_dataset_of_the_kept_rows(digits):
    subset = DATASETS.build(
        dict(
            type='mmbss.StratifiedSubset',
            fraction=0.25,
            seed=3,
            dataset=dict(type='mmbss.Digits', split='train'),
        )
    )
    rows = stratified_rows(digits.get_gt_labels(), 0.25, seed=3)
    assert len(subset) == len(rows)
    assert subset.metainfo == digits.metainfo
    assert subset.get_gt_labels().tolist() == digits.get_gt_labels()[rows].tolist()
    for index in (0, 7, len(subset) - 1):
        row = int(rows[index])
        assert torch.equal(subset[index]['inputs'], digits[row]['inputs'])
        assert subset[index]['data_samples'].sample_idx == row
        assert subset.get_cat_ids(index) == digits.get_cat_ids(row)
        assert subset.get_data_info(index)['sample_idx'] == row


def test_a_subset_can_forget_its_labels(digits):
    subset = StratifiedSubset(digits, fraction=0.1, seed=3, keeps_labels=False)
    labelled = StratifiedSubset(digits, fraction=0.1, seed=3)
    assert len(subset) == len(labelled)
    for sample, same in zip(
        subset.__getitems__([4, 5]), labelled.__getitems__([4, 5]), strict=True
    ):
        assert torch.equal(sample['inputs'], same['inputs'])
        assert 'gt_label' not in sample['data_samples']
    assert 'gt_label' not in subset[4]['data_samples']
    assert 'gt_label' in labelled[4]['data_samples']  # the whole set keeps its own


def test_a_loader_takes_whole_batches_of_a_subset(digits):
    subset = ClassSubset(digits, keep=[3, 8])
    loader = DataLoader(subset, batch_size=100, collate_fn=pseudo_collate)
    labels = torch.cat([s.gt_label for batch in loader for s in batch['data_samples']])
    assert labels.tolist() == subset.get_gt_labels().tolist()


def test_a_dataset_without_whole_batches_will_do():
    plain = Digits('train', pipeline=[dict(type='RandomFlip', prob=1.0), dict(type='PackInputs')])
    subset = StratifiedSubset(plain, fraction=0.1)
    (one,) = subset.__getitems__([5])
    assert torch.equal(one['inputs'], subset[5]['inputs'])


def test_classes_are_kept_or_dropped_with_their_numbers(digits):
    kept, dropped = ClassSubset(digits, keep=[7, 8]), ClassSubset(digits, drop=[3])
    assert set(kept.get_gt_labels().tolist()) == {7, 8}
    assert set(dropped.get_gt_labels().tolist()) == set(range(10)) - {3}
    labels = digits.get_gt_labels()
    assert len(kept) == np.isin(labels, [7, 8]).sum()
    assert len(dropped) == (labels != 3).sum()


def test_subsets_can_be_nested(digits):
    nested = StratifiedSubset(ClassSubset(digits, keep=[0, 1]), fraction=0.5)
    assert set(nested.get_gt_labels().tolist()) == {0, 1}
    assert nested[0]['data_samples'].gt_label.item() == nested.get_gt_labels()[0]


@pytest.mark.parametrize('choice', [dict(), dict(keep=[1], drop=[2])])
def test_exactly_one_choice_of_classes_is_needed(digits, choice):
    with pytest.raises(ValueError, match='either to keep or to drop'):
        ClassSubset(digits, **choice)


@pytest.mark.parametrize('choice', [dict(keep=[3, 11]), dict(drop=[11])])
def test_classes_that_the_dataset_lacks_are_refused(digits, choice):
    with pytest.raises(ValueError, match=r'no class \[11\], only \[0, 1, 2'):
        ClassSubset(digits, **choice)


@pytest.mark.parametrize('choice', [dict(keep=[]), dict(drop=list(range(10)))])
def test_no_class_left_is_refused(digits, choice):
    with pytest.raises(ValueError, match='no class is left'):
        ClassSubset(digits, **choice)


@pytest.mark.parametrize(('size', 'count'), [(100, 7), (5, 5), (3, 9), (10, 1)])
def test_rows_are_spread_evenly_and_are_different_ones(size, count):
    rows = spread_rows(size, count)
    assert len(rows) == len(set(rows)) == min(size, count)
    assert rows[0] == 0
    assert count == 1 or rows[-1] == size - 1
    gaps = np.diff(rows)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_a_dataset_without_labels_has_no_such_subsets(tmp_path):
    np.savez(tmp_path / 'a.npz', images=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(ConfigError, match='ArrayDataset has no labels, by which a subset'):
        StratifiedSubset(ArrayDataset(str(tmp_path / 'a.npz')), fraction=0.5)


def test_a_subset_of_datasets_around_others(digits):
    whole = ConcatDataset([digits, digits])
    subset = StratifiedSubset(whole, fraction=0.5)
    labels = [subset.get_data_info(row)['gt_label'] for row in range(len(subset))]
    assert abs(len(subset) - len(digits)) <= 10
    assert subset.get_gt_labels().tolist() == labels


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ConfigError, match='no samples'):
        stratified_rows(np.array([], dtype=np.int64), 0.5, seed=0)


def test_a_negative_seed_and_a_number_of_classes_are_refused(digits):
    with pytest.raises(ConfigError, match='seed must not be negative, got -1'):
        StratifiedSubset(digits, seed=-1)
    with pytest.raises(ConfigError, match='give a list of classes, got 1'):
        ClassSubset(digits, keep=1)


@pytest.mark.parametrize('labels', [[[0, 1], [1, 2]], [[0, 1], [1]]])
def test_several_labels_a_sample_are_refused(digits, labels, monkeypatch):
    monkeypatch.setattr(digits, 'get_gt_labels', lambda: labels)
    with pytest.raises(ConfigError, match='several labels a sample'):
        StratifiedSubset(digits, fraction=0.5)
