"""The version of mmbss."""

__version__ = '0.2.0'
