import copy

import pytest
import torch
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from torch import nn

from mmbss.distillers.term_dict import TermDict, logged
from mmbss.losses import HintLoss, KDLoss


class Model(nn.Module):
    """A student of one layer with its losses."""

    def __init__(self, channels=3):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.losses = TermDict(dict(loss_kd=KDLoss(), loss_hint=HintLoss('a', 'b', 2, channels)))


@pytest.fixture
def model():
    return Model()


@pytest.mark.parametrize('collect', [nn.Module.state_dict, get_state_dict])
def test_a_state_dict_has_the_keys_of_the_student(model, collect):
    assert list(collect(model)) == ['layer.weight', 'layer.bias']
    wrapped = nn.Sequential(model)
    assert list(collect(wrapped)) == ['0.layer.weight', '0.layer.bias']


def test_the_weights_are_parameters(model):
    names = {name for name, _ in model.named_parameters()}
    assert names > {'losses.loss_hint.regressor.weight', 'losses.loss_hint.regressor.bias'}


@pytest.mark.parametrize('wrap', [lambda model: model, nn.Sequential])
def test_loading_a_student_leaves_the_weights_as_they_are(model, wrap):
    student = {key: torch.ones_like(value) for key, value in wrap(model).state_dict().items()}
    given = dict(student)
    before = model.losses.weights()['loss_hint']['regressor.weight'].clone()
    for load in (nn.Module.load_state_dict, load_state_dict):
        load(wrap(model), student, strict=True)
        assert student == given, 'nothing is added to what was loaded'
        assert model.layer.weight.eq(1).all()
        assert torch.equal(model.losses['loss_hint'].regressor.weight, before)
    wrap(model).load_state_dict(student, strict=True, assign=True)
    assert isinstance(model.losses['loss_hint'].regressor.weight, nn.Parameter)


def test_other_missing_and_unexpected_keys_are_still_noticed(model):
    state = model.state_dict()
    with pytest.raises(RuntimeError, match=r'Missing key.*layer.weight'):
        model.load_state_dict({'layer.bias': state['layer.bias']}, strict=True)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*losses.loss_fsp'):
        model.load_state_dict({**state, 'losses.loss_fsp.weight': torch.ones(1)}, strict=True)


def test_a_copy_behaves_the_same(model):
    other = copy.deepcopy(model)
    assert list(other.state_dict()) == list(model.state_dict())
    other.load_state_dict(model.state_dict(), strict=True)
    other.losses['loss_hint'].regressor.weight.data.zero_()
    assert model.losses['loss_hint'].regressor.weight.abs().sum() > 0


def test_weights_are_those_of_losses_that_have_some(model):
    weights = model.losses.weights()
    assert model.losses.with_weights() == list(weights) == ['loss_hint']
    assert list(weights['loss_hint']) == ['regressor.weight', 'regressor.bias']
    assert TermDict(dict(loss_kd=KDLoss())).weights() == {}


def test_weights_are_loaded(model):
    other = Model()
    other.losses.load_weights(model.losses.weights())
    assert torch.equal(
        other.losses['loss_hint'].regressor.weight, model.losses['loss_hint'].regressor.weight
    )


def test_weights_of_other_losses_are_refused(model):
    with pytest.raises(ValueError, match=r"losses \[\], but the distiller needs .*\['loss_hint'\]"):
        model.losses.load_weights({})
    with pytest.raises(
        ValueError, match=r"the checkpoint's loss_hint does not fit: .*size mismatch"
    ):
        Model(channels=5).losses.load_weights(model.losses.weights())


def test_idle_terms_are_logged_as_0_with_gradients_of_0(model):
    like = torch.ones(2)
    assert model.losses.idle(like) == {}
    assert list(model.losses.active()) == ['loss_kd', 'loss_hint']
    for loss in model.losses.values():
        loss.loss_weight = 0.0
        loss.statistics = ('count',)
    assert model.losses.active() == {}
    log = model.losses.idle(like)
    assert list(log) == ['loss_kd', 'kd_count', 'loss_hint', 'hint_count']
    assert all(value.item() == 0 for value in log.values())
    log['loss_hint'].backward()
    assert all(not parameter.grad.any() for parameter in model.losses.parameters())


def test_what_is_logged_has_no_gradient():
    value = torch.ones((), requires_grad=True)
    log = logged('loss_bss', dict(gap=value))
    assert list(log) == ['bss_gap']
    assert not log['bss_gap'].requires_grad
