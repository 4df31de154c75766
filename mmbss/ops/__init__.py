"""Operators that torch does not have, or not fast enough."""

from mmbss.ops.winograd import WinogradConv2d, use_winograd

__all__ = ['WinogradConv2d', 'use_winograd']
