"""Find installed packages without ``pkg_resources``.

Cause: mmengine 0.10 asks it where a package lies, for every config that inherits from another
package. setuptools >= 82 has dropped it, and until then its import takes a second.
"""

import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any


def repair(package_utils: Any) -> None:
    """Replace what asks it, wherever mmengine has handed it on to."""
    for own in (is_installed, get_installed_path):
        original = getattr(package_utils, own.__name__)
        if 'pkg_resources' not in original.__code__.co_names:
            continue
        for name, module in [*sys.modules.items()]:
            if name.startswith('mm') and vars(module).get(own.__name__) is original:
                setattr(module, own.__name__, own)


def is_installed(package: str) -> bool:
    """Whether there is a distribution or a module of that name."""
    try:
        get_installed_path(package)
    except (ModuleNotFoundError, RuntimeError):
        return False
    return True


def get_installed_path(package: str) -> str:
    """Folder of a package, which may be named as a module or as a distribution.

    Raises:
        ModuleNotFoundError: If there is neither.
        RuntimeError: If it is a namespace package, which has many.
    """
    spec = util.find_spec(package)
    if spec is None:
        holders = metadata.packages_distributions().items()
        modules = [module for module, names in holders if package in names]
        if not modules:
            raise ModuleNotFoundError(f'no package {package} is installed')
        return get_installed_path(modules[0])
    if spec.origin is None:
        raise RuntimeError(f'{package} is a namespace package, which has no single folder')
    return str(Path(spec.origin).parent)
