"""Have mmengine write only checkpoints that can be read again.

Cause: mmengine writes whatever is in a state, such as the methods of ``OneCycleLR`` or what a hook
has stored. :mod:`mmbss.engine.files.checkpoint_reading`, and torch >= 2.6, refuse to read it, which
shows when the run is to be resumed.
"""

import functools
import sys
from typing import Any


def repair(checkpoint: Any) -> None:
    """Look at what is saved, wherever mmengine has handed the function on to."""
    original = checkpoint.save_checkpoint

    @functools.wraps(original)
    def save_checkpoint(content: Any, *args: Any, **kwargs: Any) -> None:
        from mmbss.engine.files.storable import storable

        original(storable(content), *args, **kwargs)

    for name, module in [*sys.modules.items()]:
        if name.startswith('mmengine') and vars(module).get('save_checkpoint') is original:
            module.save_checkpoint = save_checkpoint  # type: ignore[attr-defined]
