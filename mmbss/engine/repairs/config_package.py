"""Let configs inherit with ``_base_ = 'mmbss::...'``.

Cause: mmengine resolves the scope of a config only for a closed list of packages. It then asks for
the folder of the distribution, which is wrong in an editable install; given the name of a module
that is no distribution, it takes the folder the module lies in.
"""

from typing import Any


def repair(utils: Any) -> None:
    """Add the package to the list in ``mmengine.config.utils``."""
    utils.MODULE2PACKAGE['mmbss'] = 'mmbss.registry'
