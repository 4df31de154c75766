"""Let ``activation_checkpointing`` train what it names.

Cause: mmengine takes torch's reentrant checkpoints, where nothing below one gets a gradient unless
one of its inputs does, and images get none. So ``['backbone']`` would leave the backbone as it is.
"""

from functools import partial
from typing import Any


def repair(activation_checkpointing: Any) -> None:
    """Take those that ask for no gradient of an input."""
    whole = activation_checkpointing.checkpoint
    activation_checkpointing.checkpoint = partial(whole, use_reentrant=False)
