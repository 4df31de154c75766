"""Registries of mmbss, children of mmpretrain's under the scope ``mmbss``.

A config that says ``custom_imports = dict(imports=['mmbss'])`` finds everything registered here
as ``type='mmbss.Name'``. Register classes of your own the same way::

    from mmbss.registry import ATTACKS

    @ATTACKS.register_module()
    class MyAttack(Attack): ...

There is a child for every registry of mmpretrain, also where mmbss adds nothing to it: a config
that is inherited with ``_base_ = 'mmbss::...'`` is built in this scope as a whole.
"""

from mmengine.registry import Registry
from mmpretrain import registry as mmpretrain

#: Imported before the first look-up: a registry fills itself, but not its parent.
LOCATIONS = [
    'mmbss',
    'mmpretrain.datasets',
    'mmpretrain.engine',
    'mmpretrain.evaluation',
    'mmpretrain.models',
    'mmpretrain.visualization',
]


def _child(parent: Registry) -> Registry:
    """A registry of mmbss that falls back to mmpretrain's."""
    return Registry(parent.name, parent=parent, scope='mmbss', locations=LOCATIONS)


#: Searches for samples near a decision boundary.
ATTACKS = Registry('attack', scope='mmbss', locations=['mmbss'])
#: Distillers, losses, backbones and data preprocessors.
MODELS = _child(mmpretrain.MODELS)
HOOKS = _child(mmpretrain.HOOKS)
DATASETS = _child(mmpretrain.DATASETS)
OPTIM_WRAPPERS = _child(mmpretrain.OPTIM_WRAPPERS)
METRICS = _child(mmpretrain.METRICS)

RUNNERS = _child(mmpretrain.RUNNERS)
RUNNER_CONSTRUCTORS = _child(mmpretrain.RUNNER_CONSTRUCTORS)
LOOPS = _child(mmpretrain.LOOPS)
LOG_PROCESSORS = _child(mmpretrain.LOG_PROCESSORS)
OPTIMIZERS = _child(mmpretrain.OPTIMIZERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child(mmpretrain.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child(mmpretrain.PARAM_SCHEDULERS)
DATA_SAMPLERS = _child(mmpretrain.DATA_SAMPLERS)
TRANSFORMS = _child(mmpretrain.TRANSFORMS)
MODEL_WRAPPERS = _child(mmpretrain.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _child(mmpretrain.WEIGHT_INITIALIZERS)
BATCH_AUGMENTS = _child(mmpretrain.BATCH_AUGMENTS)
TASK_UTILS = _child(mmpretrain.TASK_UTILS)
EVALUATORS = _child(mmpretrain.EVALUATORS)
VISUALIZERS = _child(mmpretrain.VISUALIZERS)
VISBACKENDS = _child(mmpretrain.VISBACKENDS)
