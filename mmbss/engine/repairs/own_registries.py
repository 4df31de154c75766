"""Let mmengine's registries find ``type='mmbss.Name'`` once the package is imported.

Cause: they ask for a scope among the registries that have been made, and nothing but the name of
the package is imported by ``custom_imports = dict(imports=['mmbss'])``.
"""

from importlib import import_module
from typing import Any


def repair(registry: Any) -> None:
    """Make the registries of mmbss; they load what they name when they are first asked."""
    import_module('mmbss.registry')
