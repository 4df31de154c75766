"""An optimizer that lacks what is to be learnt."""

import pytest
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch.optim import SGD

from mmbss.engine.errors import ConfigError
from mmbss.engine.trial.training import try_training

SGD_OF_ALL = dict(type='SGD', lr=0.05)


class OfParts(DefaultOptimWrapperConstructor):
    """Takes the parts of a model that it is told."""

    def __call__(self, model):
        """An optimizer, or one for each part where there are several of them."""
        groups = [[*getattr(model, part).parameters()] for part in self.paramwise_cfg['parts']]
        return OptimWrapper(SGD([dict(params=each) for each in groups], 0.1))


@pytest.fixture(scope='module', autouse=True)
def registered():
    OPTIM_WRAPPER_CONSTRUCTORS.register_module(name='TestOfParts', module=OfParts)
    yield
    OPTIM_WRAPPER_CONSTRUCTORS.module_dict.pop('TestOfParts')


@pytest.fixture
def started(make_runner, make_teacher, resnet_config):
    """A runner with its optimizer, of a student with a hint that has a regressor."""

    def started(parts=(), **changes):
        wrapper = dict(type='OptimWrapper', optimizer=SGD_OF_ALL, **changes)
        if parts:
            wrapper |= dict(constructor='TestOfParts', paramwise_cfg=dict(parts=[*parts]))
        layers = dict.fromkeys(('student', 'teacher'), 'backbone.layer2')
        hint = dict(type='mmbss.HintLoss', student_channels=4, teacher_channels=4, **layers)
        model = dict(
            resnet_config(),
            type='mmbss.Distiller',
            teacher=make_teacher(),
            losses=dict(loss_hint=hint, loss_kd=dict(type='mmbss.KDLoss')),
        )
        runner = make_runner(model, epochs=1, optim_wrapper=wrapper)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        return runner

    return started


def test_weights_of_a_term_that_nobody_trains_are_refused(started):
    runner = started(('backbone', 'head'))
    with pytest.raises(ConfigError, match=r'regressor\.weight, .* of model\.losses\.loss_hint,'):
        try_training(runner)
    runner.model.terms.requires_grad_(False)  # on purpose
    try_training(runner)


@pytest.mark.parametrize(
    ('parts', 'changes', 'said'),
    [
        ((), {}, 0),
        ((), dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.0)))), 0),
        (('backbone', 'head', 'terms'), {}, 0),
        (('head', 'terms'), {}, 1),
    ],
    ids=str,
)
def test_of_the_student_that_is_said_once(started, parts, changes, said, monkeypatch):
    runner = started(parts, **changes)
    warnings = []
    monkeypatch.setattr(runner.logger, 'warning', warnings.append)
    try_training(runner)
    warnings = [each for each in warnings if each.startswith('optim_wrapper')]
    assert len(warnings) == said
    assert all('does not get backbone.' in each and 'more, so these' in each for each in warnings)


def test_a_runner_may_have_no_optimizer_yet(make_runner, resnet_config):
    try_training(make_runner(resnet_config(), epochs=1))
