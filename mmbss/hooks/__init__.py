"""Hooks that steer a distiller while the runner trains it, and that keep a run safe."""

from mmbss.hooks.accumulation_hook import AccumulationHook
from mmbss.hooks.atomic_checkpoint_hook import AtomicCheckpointHook
from mmbss.hooks.bss_hook import BSSHook, LinearSchedule
from mmbss.hooks.finite_loss_hook import FiniteLossHook
from mmbss.hooks.keep_memory_hook import KeepMemoryHook
from mmbss.hooks.max_norm_hook import MaxNormHook
from mmbss.hooks.step_seed_hook import StepSeedHook
from mmbss.hooks.teacher_accuracy_hook import TeacherAccuracyHook
from mmbss.hooks.teacher_cache_hook import TeacherCacheHook

__all__ = [
    'AccumulationHook',
    'AtomicCheckpointHook',
    'BSSHook',
    'FiniteLossHook',
    'KeepMemoryHook',
    'LinearSchedule',
    'MaxNormHook',
    'StepSeedHook',
    'TeacherAccuracyHook',
    'TeacherCacheHook',
]
