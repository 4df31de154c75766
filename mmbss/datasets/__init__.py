"""Datasets that lie in memory, and their augmentation by whole batches."""

from mmbss.datasets.array_dataset import ArrayDataset
from mmbss.datasets.batched_augmentation import AugmentingDataPreprocessor
from mmbss.datasets.digits import Digits

__all__ = ['ArrayDataset', 'AugmentingDataPreprocessor', 'Digits']
