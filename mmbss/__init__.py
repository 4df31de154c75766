"""mmbss: knowledge distillation at the teacher's decision boundary, a plug-in for MMPretrain.

Importing the package is quick: what it repairs of the platform is repaired as soon as the library
in question is imported, and the registries load what a config names when they are first asked. So
a config needs one line: ``custom_imports = dict(imports=['mmbss'])``.

To understand the method, read :mod:`mmbss.attacks`, :mod:`mmbss.boundary`, :mod:`mmbss.losses` and
:mod:`mmbss.distillers`, and nothing else.
"""

from wrapt import register_post_import_hook

from mmbss.engine.repairs import repair_platform
from mmbss.version import __version__

repair_platform()
register_post_import_hook('mmbss.engine.files.zoo:register', 'mmpretrain.apis.model')

__all__ = ['__version__']
