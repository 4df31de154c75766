"""Registries of mmbss under the scope ``mmbss``.

A config that says ``custom_imports = dict(imports=['mmbss'])`` finds everything registered here
as ``type='mmbss.Name'``. Register classes of your own the same way::

    from mmbss.registry import ATTACKS

    @ATTACKS.register_module()
    class MyAttack(Attack): ...

A registry imports the modules that fill it when it is first asked, so importing this one is quick.
"""

from importlib import import_module
from typing import Any

import wrapt
from mmengine.registry import Registry, root


class _Registry(Registry):
    """A registry of mmbss that asks mmpretrain's of the same name for what it lacks.

    So a config that is inherited with ``_base_ = 'mmbss::...'`` is built in this scope as a whole.
    It is no child of mmpretrain's, which could not be made without importing all of mmpretrain.
    """

    def __init__(self, kind: str, *locations: str) -> None:
        parent = getattr(root, kind.replace('EVALUATORS', 'EVALUATOR'), None)
        name = kind.lower() if parent is None else parent.name
        # of a registry without locations mmengine says that its package is not installed
        super().__init__(name, parent=parent, scope='mmbss', locations=[*locations] or ['mmbss'])
        self.kind = kind

    @property
    def fallback(self) -> Registry:
        """The registry of mmpretrain."""
        return getattr(import_module('mmpretrain.registry'), self.kind)

    def get(self, key: str) -> Any:
        """What is registered under a name, None if nothing is; see mmengine's ``Registry``."""
        self.import_from_location()
        if '.' not in key and key not in self.module_dict:
            # mmpretrain before mmengine, some of whose names it takes for classes of its own
            return self.fallback.get(key)
        return super().get(key)


#: Searches for samples near a decision boundary.
ATTACKS = Registry('attack', scope='mmbss', locations=['mmbss.attacks'])
#: Distillers, terms, backbones and data preprocessors.
MODELS = _Registry(
    'MODELS',
    'mmbss.losses',
    'mmbss.boundary',
    'mmbss.distillers',
    'mmbss.backbones',
    'mmbss.datasets',
)
HOOKS = _Registry(
    'HOOKS',
    'mmbss.hooks',
    'mmbss.engine.hooks',
    'mmbss.metrics',
)
DATASETS = _Registry('DATASETS', 'mmbss.datasets')
WEIGHT_INITIALIZERS = _Registry('WEIGHT_INITIALIZERS', 'mmbss.backbones')
OPTIM_WRAPPERS = _Registry('OPTIM_WRAPPERS', 'mmbss.engine.cpu_amp_optim_wrapper')
METRICS = _Registry('METRICS', 'mmbss.metrics')

# where mmbss adds nothing
RUNNERS = _Registry('RUNNERS')
RUNNER_CONSTRUCTORS = _Registry('RUNNER_CONSTRUCTORS')
LOOPS = _Registry('LOOPS')
LOG_PROCESSORS = _Registry('LOG_PROCESSORS')
OPTIMIZERS = _Registry('OPTIMIZERS')
OPTIM_WRAPPER_CONSTRUCTORS = _Registry('OPTIM_WRAPPER_CONSTRUCTORS')
PARAM_SCHEDULERS = _Registry('PARAM_SCHEDULERS')
DATA_SAMPLERS = _Registry('DATA_SAMPLERS')
TRANSFORMS = _Registry('TRANSFORMS')
MODEL_WRAPPERS = _Registry('MODEL_WRAPPERS')
BATCH_AUGMENTS = _Registry('BATCH_AUGMENTS')
TASK_UTILS = _Registry('TASK_UTILS')
EVALUATORS = _Registry('EVALUATORS')
VISUALIZERS = _Registry('VISUALIZERS')
VISBACKENDS = _Registry('VISBACKENDS')


@wrapt.when_imported('mmpretrain.registry')
def _adopt(registry: Any) -> None:
    """Mmengine has no registry of batch augments to be the parent of both."""
    registry.BATCH_AUGMENTS._add_child(BATCH_AUGMENTS)
    BATCH_AUGMENTS.parent = registry.BATCH_AUGMENTS
