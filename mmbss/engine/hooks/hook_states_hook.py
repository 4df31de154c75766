"""What other hooks have counted, at a resume."""

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.runner import Runner

from mmbss.engine.own_code import LIBRARIES
from mmbss.registry import HOOKS

#: What mmengine's EarlyStoppingHook counts, and no checkpoint of mmengine holds.
COUNTED = ('wait_count', 'best_score')


@HOOKS.register_module()
class HookStatesHook(Hook):
    """Keeps over a resume what mmengine's ``EarlyStoppingHook`` has counted.

    It would begin to wait anew otherwise; and a run that had stopped early does not go on. A hook
    of the user's own stores what it counts in mmengine's ``before_save_checkpoint`` and
    ``after_load_checkpoint``. Of one that has neither, each attribute that has changed since the
    training began is named at the resume, for it begins anew.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.begun: dict[str, str] | None = None
        self.stopped = False

    def before_train(self, runner: Runner) -> None:
        """Stay where an earlier run had stopped."""
        if self.stopped:
            runner.train_loop.stop_training = True
            runner.logger.info(
                'the run has stopped early already; to go on from where it is, and wait anew, set '
                'default_hooks.hook_states=None'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Remember the hooks once they have all begun."""
        if self.begun is None:
            self.begun = dict(unstored(runner))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store what the early stopping has counted, and what of others begins anew."""
        begun = self.begun or {}
        checkpoint['meta']['hook_states'] = dict(
            early_stopping=[[hook.wait_count, float(hook.best_score)] for hook in early(runner)],
            stopped=bool(getattr(runner.train_loop, 'stop_training', False)),
            anew=[name for name, text in unstored(runner) if begun.get(name) != text],
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """At a resume put it back, and name what begins anew."""
        stored = dict(checkpoint.get('meta') or {}).get('hook_states')
        if not runner._resume or not isinstance(stored, dict):
            return
        self.stopped = stored.get('stopped') is True
        # a file of others gets at nothing but numbers
        counted, anew = (
            part if isinstance(part := stored.get(key), list) else []
            for key in ('early_stopping', 'anew')
        )
        for hook, numbers in zip(early(runner), counted, strict=False):
            match numbers:
                case [int(wait_count), float(best_score)]:
                    hook.wait_count, hook.best_score = wait_count, best_score
        if anew:
            runner.logger.warning(
                f'begins anew, since its hook does not store it: {", ".join(map(str, anew))}; give '
                'the hook before_save_checkpoint and after_load_checkpoint'
            )


def early(runner: Runner) -> list[EarlyStoppingHook]:
    """The hooks that stop a run early."""
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]


def unstored(runner: Runner) -> Iterator[tuple[str, str]]:
    """The attributes, as text, of hooks of the user's own that no checkpoint holds."""
    for number, hook in enumerate(runner.hooks):
        kind = type(hook)
        is_of_library = kind.__module__.partition('.')[0] in LIBRARIES
        if is_of_library or kind.before_save_checkpoint is not Hook.before_save_checkpoint:
            continue
        for key, value in vars(hook).items():
            if not (isinstance(hook, EarlyStoppingHook) and key in COUNTED):
                yield f'{kind.__name__}.{key} (hook {number})', text_of(value)


def text_of(value: Any) -> str:
    """A text that changes with what a number, a tensor or a collection of them holds."""
    try:
        return repr(value)
    except Exception:  # objects of others raise anything
        return ''
