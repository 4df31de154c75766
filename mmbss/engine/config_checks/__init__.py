"""What is wrong with a config, said in one line before anything is built from it."""

from mmbss.engine.config_checks.agreement import check_outdated
from mmbss.engine.config_checks.places import TOP_LEVEL
from mmbss.engine.config_checks.structure import check_config

__all__ = ['TOP_LEVEL', 'check_config', 'check_outdated']
