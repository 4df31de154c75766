"""The teacher's logits on a training set, computed once (Hinton et al. 2015, section 2)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.engine.files.arrays import read_arrays
from mmbss.engine.files.atomic import whole_file

#: Largest change of a fingerprint, as a share of the norm of the input: rounding on another device
TOLERANCE = 1e-6


def fingerprints(inputs: Tensor) -> Tensor:
    """One number for each input, which any change of a pixel, or of their order, changes.

    Args:
        inputs: (N, C, H, W), any floating dtype.

    Returns:
        (N,) float64 scalar products with a fixed irregular vector.
    """
    values = inputs.detach().flatten(1).double()
    return values @ torch.arange(1, values.shape[1] + 1, device=values.device).double().cos()


@dataclass(frozen=True)
class LogitCache:
    """Logits by the index of the sample, each with the fingerprint of the input it answers.

    The order of the samples does not matter, nor whether all of them are used. An input that is
    not the one whose logits were stored is noticed, whatever has changed it.

    Args:
        rows: (R,) int64 index of each sample in its dataset, ascending.
        logits: (R, K) float32.
        fingerprints: (R,) float64, see :func:`fingerprints`.
        teacher: ``identity`` of the teacher.
    """

    rows: Tensor
    logits: Tensor
    fingerprints: Tensor
    teacher: str

    def look_up(self, inputs: Tensor, data_samples: list[DataSample]) -> Tensor:
        """(N, K) float32 logits of a batch, on the device of the inputs.

        Args:
            inputs: (N, C, H, W) as they go into the student.
            data_samples: N samples with their ``sample_idx``.

        Raises:
            ConfigError: If a sample is not in the cache, or its input is another one.
        """
        wanted = sample_rows(data_samples)
        places = torch.searchsorted(self.rows, wanted).clamp(max=len(self.rows) - 1)
        absent = wanted[self.rows[places] != wanted]
        if len(absent):
            raise ConfigError(
                f'the cache of teacher logits lacks {len(absent)} of {len(wanted)} samples of a '
                f'batch (the first has sample_idx {int(absent[0])}): it was made for a smaller '
                'training set, so remove the file or name another'
            )
        difference = (fingerprints(inputs).cpu() - self.fingerprints[places]).abs()
        same = difference <= TOLERANCE * inputs.detach().flatten(1).float().norm(dim=1).cpu()
        if not same.all():
            raise ConfigError(
                f'{int((~same).sum())} of {len(wanted)} inputs of a batch are not those whose '
                'teacher logits were stored. A cache needs a sample to be the same every time: '
                'train without augmentation (crop, flip, mixup, random transforms), on one dataset '
                '(those within a ConcatDataset each count their samples from 0), or without the '
                'cache; if data or normalisation have changed since, remove the file'
            )
        return self.logits[places].to(inputs.device)

    def save(self, file: Path) -> None:
        """Write an ``.npz`` file, which replaces an older one only when it is whole."""
        with whole_file(file) as part, part.open('wb') as content:
            np.savez(
                content,
                rows=self.rows.numpy(),
                logits=self.logits.numpy(),
                fingerprints=self.fingerprints.numpy(),
                teacher=np.asarray(self.teacher),
            )

    @classmethod
    def load(cls, file: Path) -> 'LogitCache':
        """Read what :meth:`save` wrote.

        Raises:
            ConfigError: If the file is anything else.
        """
        try:
            arrays = read_arrays(file)
            cache = cls(
                rows=torch.from_numpy(arrays['rows']),
                logits=torch.from_numpy(arrays['logits']),
                fingerprints=torch.from_numpy(arrays['fingerprints']),
                teacher=str(arrays['teacher']),
            )
            cache.check()
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise ConfigError(
                f'{file} is no cache of teacher logits ({error}): remove it or name another file'
            ) from error
        return cache

    def check(self) -> None:
        """Refuse arrays that do not fit together.

        Raises:
            ConfigError: Saying which.
        """
        kinds = (self.rows.dtype, self.logits.dtype, self.fingerprints.dtype)
        shapes = (self.rows.shape, self.logits.shape[:1], self.fingerprints.shape)
        if kinds != (torch.int64, torch.float32, torch.float64) or self.logits.ndim != 2:
            raise ConfigError('its arrays are of another kind')
        if len(set(shapes)) > 1 or not len(self.rows):
            raise ConfigError('its arrays differ in length, or are empty')
        if not (self.rows.diff() >= 0).all() or not self.logits.isfinite().all():
            raise ConfigError('its rows are not in order, or logits are not finite')


def sample_rows(data_samples: list[DataSample]) -> Tensor:
    """(N,) int64 ``sample_idx`` of each sample.

    Raises:
        ConfigError: If a sample has none.
    """
    rows = [sample.get('sample_idx') for sample in data_samples]
    if None in rows:
        raise ConfigError(
            'teacher logits are stored by sample_idx, which the samples lack: keep it among the '
            'meta_keys of PackInputs, and use a dataset that is a mmengine BaseDataset'
        )
    return torch.tensor(rows, dtype=torch.int64)
