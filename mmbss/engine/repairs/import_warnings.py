"""Drop two warnings that users of image classifiers can do nothing about.

Cause: mmcv-lite says at every import that it has no compiled operators, and setuptools that
mmengine 0.10 should not import its ``pkg_resources``.
"""

import warnings


def silence_import_warnings() -> None:
    """Filter them, before anything raises them."""
    for message in ('Fail to import ``MultiScaleDeformableAttention``', 'pkg_resources is deprec'):
        warnings.filterwarnings('ignore', message, category=UserWarning)
