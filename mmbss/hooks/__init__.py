"""Hooks that steer a distiller while the runner trains it."""

from mmbss.hooks.bss_hook import BSSHook, LinearSchedule
from mmbss.hooks.max_norm_hook import MaxNormHook
from mmbss.hooks.teacher_accuracy_hook import TeacherAccuracyHook
from mmbss.hooks.teacher_cache_hook import TeacherCacheHook

__all__ = [
    'BSSHook',
    'LinearSchedule',
    'MaxNormHook',
    'TeacherAccuracyHook',
    'TeacherCacheHook',
]
