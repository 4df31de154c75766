"""What a checkpoint may name, beside tensors and plain values; anything else stays refused."""

import pickle
from collections.abc import Callable
from importlib import import_module, util
from typing import Any

import numpy as np
from mmengine.logging.history_buffer import HistoryBuffer


def allow_mmengine_checkpoints() -> None:
    """Allow mmengine's ``HistoryBuffer`` and the NumPy arrays in it.

    Checkpoints name the methods of ``HistoryBuffer`` with ``getattr``, in whose place they get
    :func:`history_statistic`: with ``getattr`` itself a pickle would get at everything.
    """
    # not at the top: torch has this called as soon as it is imported
    import torch

    multiarray = import_module(
        'numpy._core.multiarray' if util.find_spec('numpy._core') else 'numpy.core.multiarray'
    )
    allowed: list[Any] = [
        HistoryBuffer,
        (history_statistic, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.int64)),
        multiarray._reconstruct,
        multiarray.scalar,
        # checkpoints written under NumPy 1 name the same two functions differently
        (multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (multiarray.scalar, 'numpy.core.multiarray.scalar'),
    ]
    torch.serialization.add_safe_globals(allowed)


def history_statistic(owner: object, name: str) -> Callable[..., Any]:
    """The ``getattr`` of a checkpoint: finds the statistics of mmengine's histories alone.

    Args:
        owner: ``HistoryBuffer``.
        name: One of the statistics that mmengine defines.

    Returns:
        The method.

    Raises:
        pickle.UnpicklingError: If the checkpoint asks for anything else.
    """
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'a checkpoint may not look up {name!r} of {owner!r}')
    return getattr(HistoryBuffer, name)
