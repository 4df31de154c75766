"""Hooks that keep a run safe."""

from mmbss.engine.hooks.accumulation_hook import AccumulationHook
from mmbss.engine.hooks.atomic_checkpoint_hook import AtomicCheckpointHook
from mmbss.engine.hooks.fingerprint_hook import FingerprintHook
from mmbss.engine.hooks.finite_loss_hook import FiniteLossHook
from mmbss.engine.hooks.hook_states_hook import HookStatesHook
from mmbss.engine.hooks.step_seed_hook import StepSeedHook

__all__ = [
    'AccumulationHook',
    'AtomicCheckpointHook',
    'FingerprintHook',
    'FiniteLossHook',
    'HookStatesHook',
    'StepSeedHook',
]
