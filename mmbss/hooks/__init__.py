"""Hooks that steer a distiller while the runner trains it."""

from mmbss.hooks.bss_hook import BSSHook, LinearSchedule
from mmbss.hooks.gradient_share_hook import GradientShareHook
from mmbss.hooks.max_norm_hook import MaxNormHook
from mmbss.hooks.teacher_accuracy_hook import TeacherAccuracyHook
from mmbss.hooks.teacher_cache_hook import TeacherCacheHook

__all__ = [
    'BSSHook',
    'GradientShareHook',
    'LinearSchedule',
    'MaxNormHook',
    'TeacherAccuracyHook',
    'TeacherCacheHook',
]
