"""Images and labels that lie in memory as arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmpretrain.datasets import BaseDataset
from mmpretrain.structures import DataSample

from mmbss.engine.class_names import as_names, moved_name
from mmbss.engine.errors import ConfigError, MissingFileError, first_of
from mmbss.engine.files.arrays import read_arrays
from mmbss.registry import DATASETS

#: A pipeline that changes nothing; augmentation is done by whole batches, on the device.
PACK_ONLY = (dict(type='PackInputs'),)
#: What other datasets read their files by.
OF_FILES = ('ann_file', 'data_root', 'data_prefix', 'filter_cfg')


@DATASETS.register_module()
class ArrayDataset(BaseDataset):
    """Reads a whole dataset from one ``.npz`` file.

    The file holds ``images``, (N, H, W) or (N, H, W, C) with pixels in [0, 255], in the channel
    order that the data preprocessor expects; ``labels``, (N,) class indices, unless nobody knows
    them; and, if wanted, ``classes``, (K,) names. ``tools/dataset_to_npz.py`` writes such a file
    from any dataset of mmpretrain that is downloaded as a whole, such as CIFAR10.

    With the pipeline left as it is, a loader takes whole batches, which is several times as fast
    as sample by sample.

    Args:
        data_file: Path of the ``.npz`` file.
        pipeline: Transforms of mmpretrain; they get ``img`` and ``gt_label``.
        metainfo: Meta information; ``classes`` names the classes.
        **kwargs: Other arguments of mmpretrain's ``BaseDataset``, such as ``indices``.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If the arrays are missing, do not fit, or hold NaN or infinity; or if
            ``metainfo`` has their classes in another order.
    """

    def __init__(
        self,
        data_file: str = '',
        pipeline: Sequence[dict] = PACK_ONLY,
        metainfo: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.data_file = data_file
        # views of one array need no copies to be shared between worker processes
        kwargs.setdefault('serialize_data', False)
        unused = [key for key in OF_FILES if kwargs.pop(key, None)]
        if unused:
            raise ConfigError(
                f'{type(self).__name__}: {", ".join(unused)} not used, all comes from '
                f'{self.data_file!r}: leave it out'
            )
        super().__init__(ann_file='', metainfo=metainfo, pipeline=pipeline, **kwargs)
        # a hook may give it another pipeline later
        self.packing = self.pipeline if list(pipeline) == list(PACK_ONLY) else None

    def load_arrays(self) -> dict[str, np.ndarray]:
        """``images``, and ``labels`` and ``classes`` if the source has them."""
        if not Path(self.data_file).is_file():
            raise MissingFileError(
                f'data_file: no file {self.data_file!r}; write one with '
                'tools/dataset_to_npz.py or correct the path'
            )
        return read_arrays(self.data_file)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict with ``img``, and ``gt_label`` if there are labels, for each image."""
        arrays = self.load_arrays()
        images, labels = _checked(arrays, self.data_file)
        if 'classes' in arrays:
            own = _names(arrays['classes'], self.data_file)
            given = tuple(self._metainfo.get('classes') or own)
            self._metainfo['classes'] = given
            if moved := moved_name(given, own):
                name, there, here = moved
                raise ConfigError(
                    f'metainfo.classes has the names in another order than {self.data_file}, '
                    f'{first_of(own, 6)}: {name} is class {there} there and {here} here, counted '
                    'from 0: leave it out'
                )
        if labels is None:
            return [dict(img=image) for image in images]
        return [
            dict(img=image, gt_label=int(label))
            for image, label in zip(images, labels, strict=True)
        ]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The same as ``[self[i] for i in indices]``; torch's data loader calls this."""
        if self.pipeline is not self.packing or self.serialize_data:
            return [self[index] for index in indices]
        infos = [self.data_list[index] for index in indices]
        images = torch.from_numpy(np.stack([info['img'] for info in infos]))
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        samples = [DataSample() for _ in infos]
        for sample, index in zip(samples, indices, strict=True):
            # what metainfo=dict(...) does, but for a deep copy that takes as long as all the rest
            sample.set_field(index, 'sample_idx', field_type='metainfo')
        if 'gt_label' in infos[0]:
            labels = torch.tensor([[info['gt_label']] for info in infos])
            for sample, label in zip(samples, labels, strict=True):
                sample.set_gt_label(label)
        return [
            dict(inputs=image, data_samples=sample)
            for image, sample in zip(images, samples, strict=True)
        ]


def _names(classes: np.ndarray, source: str) -> tuple[str, ...]:
    """Names of classes as texts; HDF5 and others write them as bytes."""
    if classes.dtype.kind == 'S':
        try:
            classes = np.char.decode(classes, 'utf-8')
        except UnicodeDecodeError as error:
            raise ConfigError(
                f'{source}: classes must be names in UTF-8, got {error.object!r}'
            ) from error
    names = as_names(classes.tolist()) or () if classes.ndim == 1 else ()
    if classes.dtype.kind not in 'Uiu' or not names or len({*names}) < len(names):
        raise ConfigError(
            f'{source}: classes must be (K,) different names, got {classes.dtype} of shape '
            f'{classes.shape}'
        )
    return names


def _checked(arrays: dict[str, np.ndarray], source: str) -> tuple[np.ndarray, np.ndarray | None]:
    # labels by another name are not to be taken for none
    needed = {'images'} if set(arrays) <= {'images', 'classes'} else {'images', 'labels'}
    missing = sorted(needed - set(arrays))
    if missing:
        raise ConfigError(f'{source} lacks the arrays {missing}; it has {sorted(arrays)}')
    images, labels = arrays['images'], arrays.get('labels')
    if images.ndim not in (3, 4) or (labels is not None and labels.shape != images.shape[:1]):
        raise ConfigError(
            f'{source}: images must be (N, H, W) or (N, H, W, C) and labels (N,), got '
            f'{images.shape} and {None if labels is None else labels.shape}'
        )
    if images.dtype.kind == 'u' and images.itemsize > 1:  # which torch turns no channels of
        images = images.astype(np.int64 if images.itemsize > 2 else np.int32)
    if images.dtype.kind not in 'biuf':
        raise ConfigError(f'{source}: images must be numbers, got {images.dtype}')
    images = images.astype(images.dtype.newbyteorder('='), copy=False)  # as torch needs it
    if labels is not None and (labels.dtype.kind not in 'iu' or (len(labels) and labels.min() < 0)):
        raise ConfigError(f'{source}: labels must be class indices from 0, got {labels.dtype}')
    if images.dtype.kind == 'f' and not np.isfinite(images).all():
        bad = int((~np.isfinite(images)).reshape(len(images), -1).any(axis=1).sum())
        raise ConfigError(f'{source}: {bad} of {len(images)} images hold NaN or infinity')
    return images, labels
