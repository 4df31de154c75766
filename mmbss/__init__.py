"""mmbss: knowledge distillation at the teacher's decision boundary, a plug-in for MMPretrain.

Importing the package repairs the platform, and its registries load what a config names when they
are first asked, so a config needs one line: ``custom_imports = dict(imports=['mmbss'])``.

To understand the method, read :mod:`mmbss.attacks`, :mod:`mmbss.boundary`, :mod:`mmbss.losses` and
:mod:`mmbss.distillers`, and nothing else.
"""

from mmbss.engine.compat import repair_platform

repair_platform()

from mmbss.version import __version__  # noqa: E402

__all__ = ['__version__']
