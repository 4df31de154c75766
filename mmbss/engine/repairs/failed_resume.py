"""Say what is wrong with a checkpoint from which a training cannot go on.

Cause: mmengine ends with ``KeyError: 'meta'`` and the like where a file holds weights alone, or
the state of another training, and begins with random weights where their names do not fit.
"""

import functools
import textwrap
from typing import Any

from mmbss.engine.errors import ConfigError, is_of_input

REMEDY = (
    'it is not of a run with this config; take its weights alone with load_from, without resume'
)


def repair(module: Any) -> None:
    """Explain the errors of ``Runner.resume``."""
    original = module.Runner.resume

    @functools.wraps(original)
    def resume(self: Any, filename: str, *args: Any, **kwargs: Any) -> None:
        # an attribute of the object, which hides the method of its class
        self.load_checkpoint = functools.partial(self.load_checkpoint, strict=True)
        try:
            original(self, filename, *args, **kwargs)
        except ConfigError:
            raise
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            # it could not be read, or there is a bug in a hook
            if str(filename) in str(error) or not is_of_input(error):
                raise
            reason = textwrap.shorten(f'{type(error).__name__}: {error}', 400)
            raise ConfigError(f'cannot resume from {filename} ({reason}): {REMEDY}') from error
        finally:
            del self.load_checkpoint

    module.Runner.resume = resume
