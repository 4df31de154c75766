"""A term asks what the student would say, and nothing of the student changes."""

import copy

import pytest
import torch
from torch import nn

from mmbss.distillers.iteration import ask_teacher, peek


@pytest.fixture
def distiller(make_distiller, resnet_config):
    config = resnet_config()
    config['head'] = dict(
        type='StackedLinearClsHead',
        num_classes=10,
        in_channels=8,
        mid_channels=[12],
        dropout_rate=0.5,
    )
    return make_distiller(config, type='mmbss.Distiller')


def test_a_peek_is_what_the_deployed_student_says_and_leaves_no_trace(distiller, make_batch):
    inputs, samples = make_batch(range(6))
    distiller.backbone.bn1.eval()  # a frozen layer stays frozen
    before = {name: value.clone() for name, value in distiller.state_dict().items()}
    modes = [module.training for module in distiller.modules()]
    deployed = copy.deepcopy(distiller).eval()(inputs)
    asked = ask_teacher(distiller, inputs, samples, {})
    state = torch.get_rng_state()
    logits = asked.peek_student(inputs)
    assert torch.equal(logits, deployed)
    assert not logits.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in distiller.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in distiller.state_dict().items())


@pytest.mark.parametrize('autocast', [False, True])
def test_the_student_learns_after_a_peek(distiller, make_batch, autocast):
    distiller.head.layers[0].dropout = nn.Identity()
    batch = make_batch(range(6))
    gradients = []
    for peeks in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            if peeks:
                peek(distiller, batch[0])
            losses = distiller.loss(*batch)
        distiller.zero_grad()
        sum(losses.values()).backward()
        gradients.append([parameter.grad.clone() for parameter in distiller.parameters()])
    assert all(map(torch.equal, *gradients))
