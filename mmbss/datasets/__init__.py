"""Datasets that lie in memory, parts of datasets, and augmentation by whole batches."""

from mmbss.datasets.array_dataset import ArrayDataset
from mmbss.datasets.batched_augmentation import AugmentingDataPreprocessor
from mmbss.datasets.digits import Digits
from mmbss.datasets.downsampled_imagenet import DownsampledImageNet
from mmbss.datasets.subsets import ClassSubset, StratifiedSubset
from mmbss.datasets.tiny_imagenet import TinyImageNet

__all__ = [
    'ArrayDataset',
    'AugmentingDataPreprocessor',
    'ClassSubset',
    'Digits',
    'DownsampledImageNet',
    'StratifiedSubset',
    'TinyImageNet',
]
