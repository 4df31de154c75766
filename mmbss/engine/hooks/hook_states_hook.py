"""What other hooks have counted, kept for a resume."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmbss.engine.kept_values import (
    LIBRARIES,
    copied,
    is_on_cpu,
    is_plain,
    moved,
    same,
    trace,
)
from mmbss.engine.models import device_of
from mmbss.registry import HOOKS

#: What changes in the hooks of the libraries while they train, and no checkpoint holds.
OF_LIBRARIES = dict(EarlyStoppingHook=('wait_count', 'best_score'))
State = dict[str, Any]


@HOOKS.register_module()
class HookStatesHook(Hook):
    """Stores in each checkpoint what other hooks have counted, in ``meta['hook_states']``.

    mmengine's ``EarlyStoppingHook`` would begin to wait anew at every resume. Of a hook of the
    user's own, each attribute is stored that has changed since the hook was made: numbers, tensors,
    and lists, tuples, sets, dicts and counters of them. What is anything else and has changed is
    named at the resume, for it begins anew; a hook with a ``before_save_checkpoint`` of its own is
    taken to store all that it needs. An attribute with tensors that were not on the CPU comes
    back to the device of the model.

    A run that had stopped early does not go on.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.fresh: dict[str, State] = {}
        # what a checkpoint holds of each hook
        self.stored: dict[str, State] = {}
        self.begun: dict[str, dict[str, int]] | None = None
        self.stopped = False

    def before_run(self, runner: Runner) -> None:
        """Remember the hooks as they were made."""
        self.fresh = {name: counts_of(hook) for name, hook in named_hooks(runner)}

    def before_train(self, runner: Runner) -> None:
        """Stay where an earlier run had stopped."""
        if self.stopped:
            runner.train_loop.stop_training = True
            runner.logger.info('the run has stopped early already')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the hooks once they have all begun.

        What they hold that cannot be stored is remembered. What a checkpoint holds of an attribute
        that they have only while they train is put back, and what they have set anew is named.
        """
        if self.begun is not None:
            return
        self.begun = {name: others(hook) for name, hook in named_hooks(runner)}
        anew = []
        for name, hook in named_hooks(runner):
            for key, value in self.stored.get(name, {}).items():
                if key not in vars(hook):
                    setattr(hook, key, value)
                elif is_plain(now := vars(hook)[key]) and not same(copied(now), copied(value)):
                    anew.append(f'{name}.{key}')
        if anew:
            runner.logger.warning(
                f'set anew by the before_train of their hooks, so not as in the checkpoint: '
                f'{", ".join(anew)}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store what has changed."""
        states, away, lost = {}, {}, []
        for name, hook in named_hooks(runner):
            before = self.fresh.get(name, {})
            now = counts_of(hook)
            changed = {key: now[key] for key in now if not same(now[key], before.get(key, self))}
            if changed:
                states[name] = changed
                away[name] = [key for key in changed if not is_on_cpu(vars(hook)[key])]
            begun = (self.begun or {}).get(name, {})
            lost += [f'{name}.{key}' for key, at in others(hook).items() if begun.get(key) != at]
        stopped = bool(getattr(runner.train_loop, 'stop_training', False))
        checkpoint['meta']['hook_states'] = dict(
            states=states, away=away, lost=lost, stopped=stopped
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """At a resume put it back."""
        stored = dict(checkpoint.get('meta') or {}).get('hook_states')
        if not runner._resume or not isinstance(stored, dict):
            return
        self.stopped = stored.get('stopped') is True
        states, away = (dict(stored.get(part) or {}) for part in ('states', 'away'))
        lost = list(stored.get('lost') or ())
        for name, hook in named_hooks(runner):
            for key, value in dict(states.get(name) or {}).items():
                # a file of others gets at nothing but numbers
                if not is_plain(value) or is_of_class(hook, str(key)):
                    continue
                # a resume may have brought all that it reads to the GPU
                was_away = key in (away.get(name) or ())
                device = device_of(runner.model) if was_away else torch.device('cpu')
                self.stored.setdefault(name, {})[key] = moved(value, device)
                if key in counts_of(hook):
                    setattr(hook, key, moved(value, device))
        if lost:
            runner.logger.warning(
                f'begins anew, since a checkpoint cannot hold it: {", ".join(map(str, lost))}; '
                'give the hook before_save_checkpoint and after_load_checkpoint of its own'
            )


def named_hooks(runner: Runner) -> Iterator[tuple[str, Hook]]:
    """The hooks that may have a state which nobody else stores, by their types."""
    counts: Counter[str] = Counter()
    for hook in runner.hooks:
        kind = type(hook)
        is_of_library = kind.__module__.partition('.')[0] in LIBRARIES
        stores = kind.before_save_checkpoint is not Hook.before_save_checkpoint
        if stores or (is_of_library and kind.__name__ not in OF_LIBRARIES):
            continue
        counts[kind.__name__] += 1
        yield f'{kind.__name__}.{counts[kind.__name__]}', hook


def is_of_class(hook: Hook, name: str) -> bool:
    """Whether a name is that of a method or property, which no attribute may hide."""
    found = getattr(type(hook), name, None)
    return callable(found) or isinstance(found, property)


def counts_of(hook: Hook) -> State:
    """Copies of the attributes that can be stored."""
    names = OF_LIBRARIES.get(type(hook).__name__, vars(hook))
    return {key: copied(vars(hook)[key]) for key in names if is_plain(vars(hook).get(key, ...))}


def others(hook: Hook) -> dict[str, int]:
    """What tells whether the attributes have changed that cannot be stored."""
    if type(hook).__name__ in OF_LIBRARIES:
        return {}
    return {key: trace(value) for key, value in vars(hook).items() if not is_plain(value)}
