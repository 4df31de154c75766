"""Names that lie in :mod:`mmbss.engine.arguments`, which is quick to import."""

from mmbss.engine.arguments import find_arguments

__all__ = ['find_arguments']
