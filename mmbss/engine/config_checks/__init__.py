"""What is wrong with a config, all of it, a line for each mistake, before the training begins."""

from mmbss.engine.config_checks.building import build_runner, check_config, named_start
from mmbss.engine.config_checks.entries import TOP_LEVEL
from mmbss.engine.config_checks.silent import check_outdated

__all__ = ['TOP_LEVEL', 'build_runner', 'check_config', 'check_outdated', 'named_start']
