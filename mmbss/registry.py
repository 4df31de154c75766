"""Registries of mmbss, children of mmpretrain's under the scope ``mmbss``.

A config that says ``custom_imports = dict(imports=['mmbss'])`` finds everything registered here
as ``type='mmbss.Name'``. Register classes of your own the same way::

    from mmbss.registry import ATTACKS

    @ATTACKS.register_module()
    class MyAttack(Attack): ...
"""

from mmengine.registry import Registry
from mmpretrain import registry as mmpretrain

#: Distillers, losses, backbones and data preprocessors.
MODELS = Registry(
    'model',
    parent=mmpretrain.MODELS,
    scope='mmbss',
    locations=['mmbss.distillers', 'mmbss.losses', 'mmbss.backbones', 'mmbss.datasets'],
)
#: Searches for samples near a decision boundary.
ATTACKS = Registry('attack', scope='mmbss', locations=['mmbss.attacks'])
HOOKS = Registry('hook', parent=mmpretrain.HOOKS, scope='mmbss', locations=['mmbss.hooks'])
DATASETS = Registry(
    'dataset', parent=mmpretrain.DATASETS, scope='mmbss', locations=['mmbss.datasets']
)
METRICS = Registry('metric', parent=mmpretrain.METRICS, scope='mmbss', locations=['mmbss.metrics'])
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper',
    parent=mmpretrain.OPTIM_WRAPPERS,
    scope='mmbss',
    locations=['mmbss.optim'],
)
