from importlib import import_module

import pytest
from mmengine.registry import DefaultScope
from mmpretrain import registry as parents

import mmbss
from mmbss import registry
from mmbss.attacks import Attack
from mmbss.losses import DistillationLoss

OWN = [
    ('MODELS', 'Distiller', 'mmbss.distillers'),
    ('MODELS', 'KDLoss', 'mmbss.losses'),
    ('MODELS', 'BoundaryLoss', 'mmbss.boundary'),
    ('MODELS', 'CIFARResNet', 'mmbss.backbones'),
    ('MODELS', 'MLP', 'mmbss.backbones'),
    ('MODELS', 'AugmentingDataPreprocessor', 'mmbss.datasets'),
    ('ATTACKS', 'BSSAttack', 'mmbss.attacks'),
    ('HOOKS', 'BSSHook', 'mmbss.hooks'),
    ('HOOKS', 'StepSeedHook', 'mmbss.engine.hooks'),
    ('HOOKS', 'ModelMetricHook', 'mmbss.metrics'),
    ('METRICS', 'BoundarySimilarity', 'mmbss.metrics'),
    ('METRICS', 'RobustAccuracy', 'mmbss.metrics'),
    ('DATASETS', 'Digits', 'mmbss.datasets'),
    ('DATASETS', 'ArrayDataset', 'mmbss.datasets'),
    ('OPTIM_WRAPPERS', 'CPUAmpOptimWrapper', 'mmbss.engine.cpu_amp_optim_wrapper'),
]
CHILDREN = sorted(
    name for name, value in vars(registry).items() if name.isupper() and name != 'ATTACKS'
)


@pytest.mark.parametrize(('name', 'key', 'module'), OWN)
def test_own_classes_are_found_in_both_scopes(name, key, module):
    own, expected = getattr(registry, name), getattr(import_module(module), key)
    assert own.get(key) is expected
    assert own.get(f'mmbss.{key}') is expected
    if name != 'ATTACKS':
        assert getattr(parents, name).get(f'mmbss.{key}') is expected


def test_every_registry_of_mmpretrain_has_a_child():
    theirs = {name for name, value in vars(parents).items() if isinstance(value, registry.Registry)}
    theirs = {name for name in theirs if not name.startswith('MMENGINE_')}
    assert theirs - {'TOKENIZER'} <= set(CHILDREN), 'all but that of language models'


@pytest.mark.parametrize('name', CHILDREN)
def test_children_fall_back_to_mmpretrain(name):
    own, parent = getattr(registry, name), getattr(parents, name)
    assert own.scope == 'mmbss'
    assert own.fallback is parent
    assert all(own.get(key) is not None for key in list(parent.module_dict)[:3])


@pytest.mark.parametrize(
    ('name', 'key'),
    [
        ('MODELS', 'LinearClsHead'),
        ('METRICS', 'Accuracy'),
        ('HOOKS', 'EMAHook'),
        ('DATASETS', 'CIFAR10'),
        ('TRANSFORMS', 'PackInputs'),
        ('OPTIMIZERS', 'SGD'),
        ('VISUALIZERS', 'UniversalVisualizer'),
    ],
)
def test_classes_of_mmpretrain_and_mmengine_are_found_in_this_scope(name, key):
    assert getattr(registry, name).get(key) is not None


def test_unknown_names_are_refused_with_the_registry():
    with pytest.raises(KeyError, match=r'NoSuchThing is not in the \w+::metric registry'):
        registry.METRICS.build(dict(type='NoSuchThing'))


@pytest.mark.parametrize('scope', ['mmbss', 'mmpretrain'])
@pytest.mark.parametrize('prefix', ['', 'mmbss.'])
def test_own_attacks_are_built_from_either_scope(scope, prefix):
    class OwnAttack(Attack):
        def run(self, model, samples, base, target, bounds):
            raise NotImplementedError

    registry.ATTACKS.register_module(module=OwnAttack, force=True)
    try:
        with DefaultScope.overwrite_default_scope(scope):
            assert isinstance(registry.ATTACKS.build(dict(type=f'{prefix}OwnAttack')), OwnAttack)
    finally:
        registry.ATTACKS.module_dict.pop('OwnAttack')


def test_own_losses_are_built_by_a_config():
    class OwnLoss(DistillationLoss):
        def forward(self, student_logits, teacher_logits, labels):
            raise NotImplementedError

    registry.MODELS.register_module(module=OwnLoss, force=True)
    try:
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            loss = parents.MODELS.build(dict(type='mmbss.OwnLoss', loss_weight=2.0))
        assert isinstance(loss, OwnLoss)
        assert loss.loss_weight == 2.0
    finally:
        registry.MODELS.module_dict.pop('OwnLoss')


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert mmbss.__version__ == version('mmbss')


def test_a_batch_augment_of_the_user_is_found_from_mmpretrain():
    @registry.BATCH_AUGMENTS.register_module()
    class Nothing:
        pass

    try:
        assert parents.BATCH_AUGMENTS.get('mmbss.Nothing') is Nothing
        assert registry.BATCH_AUGMENTS.get('Mixup') is parents.BATCH_AUGMENTS.get('Mixup')
    finally:
        del registry.BATCH_AUGMENTS.module_dict['Nothing']
