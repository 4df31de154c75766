"""Keep the histories of the logged values as plain tensors in checkpoints.

Cause: mmengine 0.10 stores its ``HistoryBuffer`` of NumPy arrays in every checkpoint (mmengine
#1655). torch >= 2.6 refuses to read it, and a file that may name NumPy can read and forge memory.
"""

import functools
from typing import Any

from mmbss.engine.errors import ConfigError

#: What mmengine keeps as ``_<name>``.
COLUMNS = ('log_history', 'count_history')


def repair(module: Any) -> None:
    """Replace what ``MessageHub`` stores of itself, and take both kinds back."""
    hub, buffer = module.MessageHub, module.HistoryBuffer
    store, load = hub.state_dict, hub.load_state_dict

    @functools.wraps(store)
    def state_dict(self: Any) -> dict[str, Any]:
        state = store(self)
        for name, history in state['log_scalars'].items():
            state['log_scalars'][name] = to_plain(history)
        return state

    @functools.wraps(load)
    def load_state_dict(self: Any, state: Any) -> None:
        if isinstance(state, dict) and isinstance(state.get('log_scalars'), dict):
            histories = {
                name: from_plain(history, buffer) if isinstance(history, dict) else history
                for name, history in state['log_scalars'].items()
            }
            state = dict(state, log_scalars=histories)
        load(self, state)

    hub.state_dict, hub.load_state_dict = state_dict, load_state_dict


def to_plain(history: Any) -> dict[str, Any]:
    """Two tensors of one dimension, values and counts, and the number of them that is kept."""
    from mmbss.engine.files.storable import plain

    columns = {name: plain(getattr(history, f'_{name}')) for name in COLUMNS}
    return dict(columns, max_length=history.max_length)


def from_plain(history: dict[str, Any], buffer: Any) -> Any:
    """A ``HistoryBuffer`` with a copy of the values.

    Raises:
        ConfigError: If it is no history.
    """
    import torch

    columns: list[Any] = [history.get(name) for name in COLUMNS]
    fits = all(
        isinstance(column, torch.Tensor)
        and column.ndim == 1
        and column.dtype in (torch.float64, torch.float32, torch.int64, torch.bool)
        for column in columns
    )
    limit = history.get('max_length')
    fits = fits and len(columns[0]) == len(columns[1]) and type(limit) is int and limit > 0
    if not fits:
        raise ConfigError('a history of logged values in the checkpoint is damaged')
    result = buffer(max_length=limit)
    result._log_history, result._count_history = (column.cpu().numpy().copy() for column in columns)
    return result
