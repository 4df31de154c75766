from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm as old_weight_norm
from torch.nn.utils.parametrizations import weight_norm

from mmbss.hooks import MaxNormHook
from mmbss.hooks.max_norm_hook import clip_norms


@pytest.mark.parametrize('shape', [(5, 4), (5, 3, 2), (5, 2, 3, 3)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_rows_above_the_bound_are_shrunk_to_it_and_others_stay(shape, dtype):
    weight = torch.randn(shape).to(dtype)
    weight[0] *= 10
    weight[1] *= 0.01
    weight[2] = 0
    before = weight.clone()
    clip_norms(weight, 1.0)
    for row, old in zip(weight, before, strict=True):
        norm = old.float().norm().item()
        if norm <= 1:
            assert torch.equal(row, old)
        else:
            tolerance = 1e-6 if dtype == torch.float32 else 0.02
            assert row.float().norm().item() == pytest.approx(1.0, abs=tolerance)
            assert torch.allclose(row.float(), old.float() / norm, atol=tolerance)


@pytest.mark.parametrize('bound', [0.0, -1.0, float('nan')])
def test_a_bound_that_is_not_positive_is_refused(bound):
    with pytest.raises(ValueError, match='max_norm must be positive'):
        MaxNormHook(bound)


@pytest.mark.parametrize('normed', [weight_norm, old_weight_norm])
def test_a_weight_that_is_computed_from_others_is_refused(normed, make_runner, resnet_config):
    runner = make_runner(
        resnet_config(), epochs=1, custom_hooks=[dict(type='mmbss.MaxNormHook', max_norm=0.5)]
    )
    normed(runner.model.backbone.conv1)
    with pytest.raises(ValueError, match='computes its weight from others'):
        runner.train()


def test_what_does_not_learn_stays():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    hook = MaxNormHook(0.1)
    hook.before_train(SimpleNamespace(model=model))
    hook.after_train_iter(SimpleNamespace(model=model), 0)
    assert torch.equal(model[0].weight, before)
    assert norms(model[1]).max() <= 0.1 * (1 + 1e-6)


def norms(model):
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return torch.cat([layer.weight.detach().flatten(1).norm(dim=1) for layer in layers])


def test_training_keeps_every_unit_within_the_bound(make_runner, resnet_config):
    free = make_runner(resnet_config(), epochs=1)
    free.train()
    bounded = make_runner(
        resnet_config(), epochs=1, custom_hooks=[dict(type='mmbss.MaxNormHook', max_norm=0.5)]
    )
    bounded.train()
    assert norms(free.model).max() > 0.6
    assert norms(bounded.model).max() <= 0.5 * (1 + 1e-6)


def test_a_model_without_such_layers_is_refused(make_runner, resnet_config):
    runner = make_runner(resnet_config(), custom_hooks=[dict(type='mmbss.MaxNormHook')])
    runner.model = nn.Sequential(nn.ReLU())
    with pytest.raises(ValueError, match='no fully connected or convolutional layer'):
        MaxNormHook().before_train(runner)


def test_the_weights_of_terms_are_free():
    model = nn.Module()
    model.backbone, model.terms = nn.Linear(2, 2), nn.ModuleDict(dict(loss_hint=nn.Linear(2, 2)))
    hook = MaxNormHook()
    hook.before_train(SimpleNamespace(model=model))
    (weight,) = hook.weights
    assert weight is model.backbone.weight
