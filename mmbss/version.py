"""The version of mmbss."""

__version__ = '0.1.0'
