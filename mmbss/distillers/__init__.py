"""Distillers: students that listen to a teacher while they train."""

from mmbss.distillers.distiller import Distiller

__all__ = ['Distiller']
