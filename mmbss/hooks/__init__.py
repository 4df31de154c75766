"""Hooks that steer a distiller while the runner trains it."""

from mmbss.hooks.bss_hook import BSSHook, LinearSchedule

__all__ = ['BSSHook', 'LinearSchedule']
