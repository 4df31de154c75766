"""What tools/train.py adds to every config, so that no run loses what it has done."""

from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.hooks import CheckpointHook
from mmengine.registry import DefaultScope

from mmbss.engine.build import lookup
from mmbss.engine.errors import ConfigError
from mmbss.registry import HOOKS

#: Each is left out where the config sets it to None, and changed where it says otherwise.
SAFETY_HOOKS = dict(
    step_seed=dict(type='mmbss.StepSeedHook'),
    accumulation=dict(type='mmbss.AccumulationHook'),
    fingerprint=dict(type='mmbss.FingerprintHook'),
    hook_states=dict(type='mmbss.HookStatesHook'),
    finite_loss=dict(type='mmbss.FiniteLossHook'),
    teacher_accuracy=dict(type='mmbss.TeacherAccuracyHook'),
)

#: Names under which mmengine registers hooks of its own.
OF_MMENGINE = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')


def add_safety_hooks(cfg: Config) -> None:
    """Write the hooks that guard a training into its config, as far as it does not name them.

    mmengine's ``CheckpointHook`` becomes :class:`~mmbss.engine.hooks.AtomicCheckpointHook`,
    however it is named.

    Raises:
        ConfigError: If ``default_hooks`` or one of these hooks is no dict.
    """
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = ConfigDict()
    hooks = cfg.default_hooks
    if not isinstance(hooks, dict):
        raise ConfigError(f'default_hooks must be a dict of hooks by name, got {hooks!r}')
    added: dict[str, dict[str, Any]] = dict(
        checkpoint=dict(type='CheckpointHook', interval=1), **SAFETY_HOOKS
    )
    for name, hook in added.items():
        if name not in hooks:
            hooks[name] = ConfigDict(hook)
        elif isinstance(hooks[name], dict):
            hooks[name].setdefault('type', hook['type'])
        elif hooks[name] is not None:
            raise ConfigError(
                f'default_hooks.{name} must be a dict of its settings or None, got {hooks[name]!r}'
            )
    with DefaultScope.overwrite_default_scope('mmbss'):
        for hook in (*hooks.values(), *(cfg.get('custom_hooks') or ())):
            if isinstance(hook, dict) and lookup(HOOKS, hook.get('type')) is CheckpointHook:
                hook['type'] = 'mmbss.AtomicCheckpointHook'
    leave_out_hooks(cfg)


def leave_out_hooks(cfg: Config) -> None:
    """Take out the hooks that a config sets to None; mmengine does so with its own alone."""
    hooks = cfg.get('default_hooks') or {}
    for name in [name for name in hooks if hooks[name] is None and name not in OF_MMENGINE]:
        hooks.pop(name)
