"""What classes of somebody's own call by a known name may be anything."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EarlyStoppingHook, EMAHook, Hook
from mmengine.optim import ConstantLR
from mmpretrain.models import ImageClassifier

from mmbss.engine.build import check_keys
from mmbss.engine.config_checks import check_config
from mmbss.engine.errors import ConfigError
from mmbss.engine.trial.validation import wanted
from mmbss.losses import DistillationLoss
from mmbss.registry import HOOKS, METRICS, MODELS, PARAM_SCHEDULERS


@HOOKS.register_module(name='TestOwnHook')
class OwnHook(Hook):
    def __init__(self, priority=None, by_epoch=None, rates=None, **settings):
        self.monitor = settings.get('monitor')


@HOOKS.register_module(name='TestTypedHook')
class TypedHook(Hook):
    def __init__(self, loss: dict | None = None, attack: str = ''):
        """Takes a dict as a loss, of whatever kind."""


@HOOKS.register_module(name='TestOwnEMAHook')
class OwnEMAHook(EMAHook):
    def __init__(self, loss='l1', **kwargs):
        super().__init__(**kwargs)


@MODELS.register_module(name='TestOwnLoss')
class OwnLoss(DistillationLoss):
    def __init__(self, loss=None, head=None, class_map=None, priority=None, epoch_length=None):
        super().__init__()


@MODELS.register_module(name='TestOwnModel')
class OwnModel(ImageClassifier):
    def __init__(self, attack=None, **kwargs):
        super().__init__(**kwargs)


@METRICS.register_module(name='TestOwnMetric')
class OwnMetric(BaseMetric):
    def __init__(self, loss=None, topk=None):
        super().__init__()


@PARAM_SCHEDULERS.register_module(name='TestOwnLR')
class OwnLR(ConstantLR):
    def __init__(self, optimizer, eta_min=0.0, end=1.5, **kwargs):
        super().__init__(optimizer, **kwargs)


HOOK, TYPED, EMA = (dict(type=f'Test{name}Hook') for name in ('Own', 'Typed', 'OwnEMA'))
LOSS, METRIC, LR = (dict(type=f'TestOwn{name}') for name in ('Loss', 'Metric', 'LR'))

GOOD = [
    *(
        ('custom_hooks', [HOOK | each])
        for each in (
            dict(loss='loss_kd', metrics=['a', 'b'], dataset='val', head='y', attack='fgsm'),
            dict(optimizer='sgd', backbone=True, neck=3, sampler=0.5, augments='mixup'),
            dict(attack=dict(type='fgsm', step=2, loss='l1'), loss=dict(kd=1.0, head='a')),
            dict(rates={5: 0.1}, settings=dict(loss='l1', steps={1: 2})),
            dict(interval=0.5, momentum=1.0, patience=0, max_keep_ckpts=0),
            dict(interval=0, constructor=3, epoch_length='short', override=True, share=2),
            dict(checkpoint='best', monitor='train/loss', topk=0, gamma=-1, end=0.5),
            dict(pipeline='fast', datasets=['a'], init_cfg='zeros', collate_fn='stack'),
            dict(loss=float('nan'), schedules=dict(loss_kd=3)),
        )
    ),
    ('custom_hooks', [TYPED | dict(loss=dict(weight=1.0), attack='fgsm')]),
    ('custom_hooks', [EMA | dict(loss='l2', momentum=0.1)]),
    ('model.losses', dict(loss_x=LOSS | dict(loss='l1', head=2, class_map={0: 1}))),
    ('model.losses', dict(loss_x=LOSS | dict(priority='first', epoch_length=0.5))),
    ('val_evaluator', METRIC | dict(loss='l1', topk=0)),
    ('val_evaluator', [METRIC | dict(topk=99)]),
    ('param_scheduler', LR | dict(eta_min=5.0, end=0.5)),
    ('model.type', 'TestOwnModel'),
    ('model', dict(type='TestOwnModel', attack='fgsm', backbone=dict(type='ResNet', depth=18))),
]
BAD = [
    ('custom_hooks', [HOOK | dict(priority='VERY_HIGHT')], 'priority'),
    ('custom_hooks', [TYPED | dict(loss=3)], 'loss must be'),
    ('custom_hooks', [HOOK | dict(attack=dict(type='mmbss.BSSAttack', steps=2))], "key 'steps'"),
    ('param_scheduler', LR | dict(end='now'), 'end must be'),
    # what is an argument of the class that it derives from
    ('param_scheduler', LR | dict(begin=-1), 'begin=-1 must be'),
    ('custom_hooks', [EMA | dict(momentum=1.5)], 'momentum=1.5 must be'),
    ('param_scheduler', LR | dict(factor=float('nan')), 'factor must be finite'),
]


@pytest.fixture
def config(run_settings, resnet_config, tmp_path):
    """A config of a training that is right."""

    def make(path, value):
        model = resnet_config(losses={})
        model['type'] = 'mmbss.Distiller' if path == 'model.losses' else 'ImageClassifier'
        if path != 'model.losses':
            model.pop('losses')
        else:
            model['teacher'] = dict(config=resnet_config(), checkpoint='teacher.pth')
        cfg = Config(run_settings(tmp_path, model))
        *parents, last = path.split('.')
        part = cfg[parents[0]] if parents else cfg
        part[last] = value
        return cfg

    return make


@pytest.mark.parametrize(('path', 'value'), GOOD, ids=str)
def test_arguments_of_ones_own_classes_may_be_anything(config, path, value):
    check_config(config(path, value))


@pytest.mark.parametrize(('path', 'value', 'message'), BAD, ids=str)
def test_what_is_known_of_ones_own_classes_is_checked(config, path, value, message):
    with pytest.raises(ConfigError, match=message):
        check_config(config(path, value))


def test_a_package_whose_name_begins_like_ours_is_none_of_ours(monkeypatch):
    def size_of(size: int = 3) -> None: ...

    monkeypatch.setattr(size_of, '__module__', 'mmbss_of_mine')
    check_keys(dict(size=2.5), size_of, 'here')


def test_a_monitor_of_ones_own_hook_need_be_no_metric():
    hooks = [OwnHook(monitor='train/loss'), EarlyStoppingHook(monitor='loss')]
    found = [*wanted(SimpleNamespace(hooks=hooks, param_schedulers=None))]
    assert found == [('EarlyStoppingHook.monitor', 'loss')]
