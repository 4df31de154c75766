"""mmbss: knowledge distillation at the teacher's decision boundary, a plug-in for MMPretrain.

Importing the package repairs the platform and fills the registries, so a config needs one line:
``custom_imports = dict(imports=['mmbss'])``.
"""

from mmbss.compat import repair_platform

repair_platform()

from mmbss import (  # noqa: E402
    attacks,
    backbones,
    datasets,
    distillers,
    fsdp,
    hooks,
    losses,
    metrics,
    optim,
    visualization,
)
from mmbss.version import __version__  # noqa: E402

__all__ = [
    '__version__',
    'attacks',
    'backbones',
    'datasets',
    'distillers',
    'fsdp',
    'hooks',
    'losses',
    'metrics',
    'optim',
    'visualization',
]
