import copy

import pytest
import torch
from torch import nn

from mmbss.distillers.separate_batch_norm import (
    batch_norms,
    own_layers,
    start_own_layers,
    swapped,
)
from mmbss.engine.errors import ConfigError
from mmbss.losses import kd_loss

STUDENT_OF_LAYERS = dict(
    type='ImageClassifier',
    backbone=dict(type='mmbss.MLP', in_features=64, hidden=(32,)),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32),
)


@pytest.fixture
def make(make_distiller, boundary_config):
    def make(*args, batch_norm='separate', **boundary):
        settings = boundary_config(
            train_on='all', base_samples='all', batch_norm=batch_norm, loss_weight=2.0, **boundary
        )
        return make_distiller(*args, boundary=settings, favoured=3)

    return make


def learn(distiller, batch):
    torch.manual_seed(4)
    losses = distiller.loss(*batch)
    distiller.zero_grad()
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return losses


def statistics(layers):
    return [layer.running_mean.clone() for layer in layers]


def test_layers_have_their_own_back_afterwards_also_after_an_error():
    layers = [nn.BatchNorm1d(3), nn.SyncBatchNorm(3)]
    own = copy.deepcopy(nn.ModuleList(layers))
    before = [list(layer.state_dict(keep_vars=True).values()) for layer in layers]
    with swapped(layers, own):
        assert all(layer.weight is other.weight for layer, other in zip(layers, own, strict=True))
        layers[0](torch.randn(5, 3))
    with pytest.raises(ValueError, match='expected 2D'), swapped(layers, own):
        layers[0](torch.randn(5, 3, 1, 1))
    for layer, values in zip(layers, before, strict=True):
        now = layer.state_dict(keep_vars=True).values()
        assert all(first is second for first, second in zip(now, values, strict=True))
    assert layers[0].num_batches_tracked == 0
    assert own[0].num_batches_tracked == 1


@pytest.mark.parametrize('candidates', ['both_correct', 'teacher_correct'])
def test_boundary_samples_have_layers_of_their_own(make, make_batch, candidates):
    distiller, batch = make(candidates=candidates), make_batch([3] * 12)
    term = distiller.terms['loss_bss']
    layers, own = batch_norms(distiller), own_layers(term)
    clean = copy.deepcopy(distiller)
    with torch.no_grad():
        for layer in own:
            layer.weight.mul_(1.5)
    found = []
    ask = type(term).find
    term.find = lambda batch: found.append(ask(term, batch)) or found[-1]
    losses = learn(distiller, batch)
    assert losses['bss_samples'] == 12

    # the clean statistics are those of the clean samples alone
    clean.terms['loss_bss'].loss_weight = 0.0
    learn(clean, batch)
    assert all(map(torch.equal, statistics(layers), statistics(batch_norms(clean))))
    assert not any(map(torch.equal, statistics(layers), statistics(own)))

    # a student with these layers in the place of its own says the same
    other = copy.deepcopy(distiller)
    for layer, replacement in zip(batch_norms(other), own, strict=True):
        layer.load_state_dict(replacement.state_dict())
    expected = 2 * kd_loss(other(found[0].inputs), found[0].teacher_logits, 3.0)
    torch.testing.assert_close(losses['loss_bss'], expected)

    # both learn, and a deployed student uses the clean ones
    assert all(layer.weight.grad.any() for layer in (*layers, *own))
    distiller.eval()
    assert torch.equal(distiller(batch[0]), clean.eval()(batch[0]))


def test_a_step_without_samples_leaves_them_as_they_are(make, make_batch):
    distiller = make()
    own = own_layers(distiller.terms['loss_bss'])
    learn(distiller, make_batch([5] * 6))
    assert all(layer.num_batches_tracked == 0 for layer in own)
    assert all(not layer.weight.grad.any() for layer in own)


def test_they_are_no_part_of_the_student(make, build_model, resnet_config):
    distiller, plain = make(), build_model(resnet_config())
    assert list(distiller.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(distiller.state_dict(), strict=True)
    distiller.load_state_dict(plain.state_dict(), strict=True)
    named = [name for name, _ in distiller.named_parameters() if 'own_batch_norms' in name]
    assert len(named) == 2 * len(batch_norms(distiller))
    assert distiller.terms.with_weights() == ['loss_bss']
    with pytest.raises(ConfigError, match='nobody stores the weights of loss_bss'):
        distiller.parse_losses({})


def test_they_begin_as_those_of_the_student_are_then(make):
    distiller = make()
    layers, own = batch_norms(distiller), own_layers(distiller.terms['loss_bss'])
    with torch.no_grad():
        for layer in layers:
            layer.weight.uniform_()
            layer.running_var.uniform_()
    start_own_layers(distiller.terms.all(), distiller)
    for layer, other in zip(layers, own, strict=True):
        assert torch.equal(layer.weight, other.weight)
        assert torch.equal(layer.running_var, other.running_var)
        assert layer.weight is not other.weight


def test_two_terms_have_different_ones(make_distiller, boundary_config, make_batch):
    boundary = boundary_config(train_on='all', base_samples='all', batch_norm='separate')
    term = dict(type='mmbss.BoundaryLoss', **boundary)
    losses = dict(loss_first=term, loss_second=copy.deepcopy(term))
    distiller = make_distiller(type='mmbss.Distiller', losses=losses, favoured=3)
    learn(distiller, make_batch([3] * 8))
    first, second = map(own_layers, distiller.terms.values())
    assert all(one is not other for one, other in zip(first, second, strict=True))
    assert all(layer.num_batches_tracked == 1 for layer in (*first, *second))


def test_a_student_without_batch_norm_is_refused(make):
    with pytest.raises(ConfigError, match=r'loss_bss.*student has no BatchNorm layer'):
        make(STUDENT_OF_LAYERS)
