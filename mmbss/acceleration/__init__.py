"""What makes a step fast without changing what it computes; the door is :func:`accelerate`."""

from mmbss.acceleration.accelerate import accelerate, is_altered

__all__ = ['accelerate', 'is_altered']
