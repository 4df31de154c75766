"""Teachers: frozen networks from anywhere, asked in the student's normalisation."""

from mmbss.teachers.teacher import Teacher

__all__ = ['Teacher']
