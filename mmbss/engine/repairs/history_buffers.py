"""Let ``torch.load(weights_only=True)`` read the checkpoints that mmengine writes.

Cause: torch >= 2.6 refuses classes it does not know, and mmengine 0.10 stores its
``HistoryBuffer`` of NumPy arrays in every checkpoint (mmengine #1655), so ``--resume``,
``load_from`` and ``get_model`` fail.
"""

from typing import Any

from mmbss.engine.safe_globals import allow_mmengine_checkpoints


def repair(torch: Any) -> None:
    """Allow what is in them, and nothing else."""
    allow_mmengine_checkpoints()
