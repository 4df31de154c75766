import pytest
import torch
from torch import nn

from mmbss.distillers.split_batch import has_batch_norm, split_batch


def test_features_are_split_whatever_holds_them():
    first, second = torch.randn(5, 2), torch.randn(5, 3, 4, 4)
    assert all(map(torch.equal, split_batch(first, [2, 3]), (first[:2], first[2:])))
    (left, (nested,)), (right, (nested_right,)) = split_batch((first, [second]), [2, 3])
    assert torch.equal(left, first[:2])
    assert torch.equal(right, first[2:])
    assert torch.equal(nested, second[:2])
    assert torch.equal(nested_right, second[2:])
    assert [len(part) for part in split_batch(first, [4, 0, 1])] == [4, 0, 1]


def test_one_part_is_all_of_it():
    features = (torch.randn(5, 2),)
    assert split_batch(features, [5]) == [features]


@pytest.mark.parametrize('training', [True, False])
def test_batch_norm_counts_while_it_uses_the_batch(training):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2))).train(training)
    assert has_batch_norm(model) == training
    assert not has_batch_norm(nn.LayerNorm(2))
