"""Let a config that mmengine has written be read as what it was.

Cause: mmengine's reader fills in variables, ``{{...}}``, also within strings, which its writer
leaves as they are: the name of a class could so become another, or code that is run.
"""

from typing import Any

from mmbss.engine.files.config_text import without_variables


def repair(config: Any) -> None:
    """Replace ``Config.pretty_text`` if it leaves variables."""
    original = config.Config.pretty_text.fget
    if '{{' in original(config.Config(dict(name='{{x}}'))):
        config.Config.pretty_text = property(
            lambda self: without_variables(original(self)), doc=original.__doc__
        )
