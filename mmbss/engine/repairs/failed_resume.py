"""Say what is wrong with a checkpoint from which a training cannot go on.

Cause: mmengine ends with ``KeyError: 'meta'`` and the like where a file holds weights alone, or
the state of another training.
"""

import functools
from typing import Any

from mmbss.engine.errors import ConfigError, is_of_input


def repair(module: Any) -> None:
    """Explain the errors of ``Runner.resume``."""
    original = module.Runner.resume

    @functools.wraps(original)
    def resume(self: Any, filename: str, *args: Any, **kwargs: Any) -> None:
        try:
            original(self, filename, *args, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # it could not be read, or there is a bug in a hook
            if str(filename) in str(error) or not is_of_input(error):
                raise
            raise ConfigError(
                f'cannot resume from {filename} ({type(error).__name__}: {error}): it is not of a '
                'run with this config; take its weights alone with load_from, without resume'
            ) from error

    module.Runner.resume = resume
