"""Have a validation log no metric of an earlier one.

Cause: mmengine logs the latest value of each metric that any validation had, also where the last
one has not given it, or the evaluator of a resumed run has no such metric.
"""

import functools
from typing import Any

#: What the last validation has given, in the hub, and so in checkpoints.
MEASURED = 'measured_by_validation'


def repair(module: Any) -> None:
    """Take metrics away that a validation does not give, before it is logged."""
    hook = module.RuntimeInfoHook
    note = hook.after_val_epoch

    @functools.wraps(note)
    def after_val_epoch(self: Any, runner: Any, metrics: dict[str, float] | None = None) -> None:
        note(self, runner, metrics)
        if metrics is None:
            return
        hub = runner.message_hub
        before = hub.runtime_info.get(MEASURED)
        # a checkpoint may hold anything under this name
        for name in map(str, before if isinstance(before, list) else ()):
            if name not in metrics:
                hub.log_scalars.pop(f'val/{name}', None)
                hub.runtime_info.pop(f'val/{name}', None)
        hub.update_info(MEASURED, [*metrics])

    hook.after_val_epoch = after_val_epoch
