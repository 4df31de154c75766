"""Names that lie in :mod:`mmbss.engine.build`, which is quick to import."""

from mmbss.engine.build import accepted_keys, build_checked, check_keys, check_known

__all__ = ['accepted_keys', 'build_checked', 'check_keys', 'check_known']
