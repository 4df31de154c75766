"""Distillers: students that listen to a teacher while they train."""

from mmbss.distillers.bss_distiller import BSSDistiller
from mmbss.distillers.distiller import Distiller

__all__ = ['BSSDistiller', 'Distiller']
