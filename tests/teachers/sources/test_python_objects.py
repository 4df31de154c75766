"""Teachers that are modules and functions of one's own, by import path or themselves."""

import sys

import pytest
import torch
from torch import nn

from mmbss.attacks import NewtonAttack
from mmbss.engine.errors import ConfigError
from mmbss.teachers.sources import load_source

CODE = """
import torch
from torch import nn

class Network(nn.Module):
    num_classes = 3
    def __init__(self, factor=1.0):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.factor = factor
    def forward(self, images):
        return self.factor * self.layer(images).mean(dim=(2, 3))

def filled(factor=1.0):
    network = Network(factor)
    with torch.no_grad():
        network.layer.weight.fill_(0.5)
        network.layer.bias.fill_(0.0)
    return network

def untrained():
    return Network()

def answer(images):
    return images.mean(dim=(2, 3))

def closed(images):
    return answer(images).detach()

number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """A module of the user's own."""
    (tmp_path / 'my_teachers.py').write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'my_teachers', raising=False)
    import my_teachers

    yield my_teachers
    del sys.modules['my_teachers']


def test_a_class_with_arguments_and_weights(make_teacher, module, pixels, to_student, tmp_path):
    network = module.Network(2.0)
    torch.save(network.state_dict(), tmp_path / 'network.pth')
    teacher = make_teacher(
        'python:my_teachers:Network',
        checkpoint=str(tmp_path / 'network.pth'),
        arguments=dict(factor=2.0),
    )
    inputs = to_student(pixels(8))
    torch.testing.assert_close(teacher(inputs), network(inputs).detach())
    assert teacher.num_classes == 3
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    teacher.watch(['layer'])
    with teacher.recorder.recording(['layer']) as features:
        teacher(inputs)
    assert features['layer'].shape == (4, 3, 8, 8)


@pytest.mark.parametrize('as_path', [True, False])
def test_a_factory_that_brings_weights(as_path, make_teacher, module, pixels, to_student):
    config = 'python:my_teachers:filled' if as_path else module.filled
    teacher = make_teacher(config, arguments=dict(factor=4.0))
    inputs = to_student(pixels(8))
    torch.testing.assert_close(teacher(inputs), module.filled(4.0)(inputs).detach())


@pytest.mark.parametrize('name', ['Network', 'untrained'])
def test_random_weights_are_refused(name, make_teacher):
    state = torch.get_rng_state()
    with pytest.raises(ConfigError, match='random weights'):
        make_teacher(f'python:my_teachers:{name}')
    assert torch.equal(torch.get_rng_state(), state)


def test_a_function_is_the_teacher_itself(make_teacher, module, pixels, to_student):
    inputs = to_student(pixels(8))
    for config in ('python:my_teachers:answer', module.answer):
        teacher = make_teacher(config)
        torch.testing.assert_close(teacher(inputs), module.answer(inputs))
        assert teacher.digest == 'my_teachers:answer'
    assert teacher.identity != make_teacher(module.closed).identity
    with pytest.raises(ConfigError, match="no module, so it has no 'layer'"):
        teacher.watch(['layer'])


def test_a_function_of_its_own_normalisation_and_order(make_teacher, module, pixels, to_student):
    images = pixels(8)
    teacher = make_teacher(
        module.answer, mean=[10.0, 20.0, 30.0], std=[2.0, 4.0, 8.0], channels='bgr'
    )
    bgr = torch.from_numpy(images[..., ::-1].copy()).float()
    expected = ((bgr - torch.tensor([10.0, 20.0, 30.0])) / torch.tensor([2.0, 4.0, 8.0])).mean(
        dim=(1, 2)
    )
    torch.testing.assert_close(teacher(to_student(images)), expected, atol=1e-4, rtol=1e-4)
    back = teacher.to_student(teacher.from_student(to_student(images)))
    torch.testing.assert_close(back, to_student(images), atol=1e-4, rtol=1e-4)


def test_a_module_itself_is_copied(make_teacher, pixels, to_student):
    network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    teacher = make_teacher(network)
    inputs = to_student(pixels(8))
    torch.testing.assert_close(teacher(inputs), network(inputs).detach())
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_missing_gradient_is_said(make_teacher, module, pixels, to_student):
    teacher = make_teacher(module.closed)
    inputs = teacher.from_student(to_student(pixels(8)))
    base = teacher.logits(inputs).argmax(dim=1)
    with pytest.raises(ConfigError, match='no gradient'):
        NewtonAttack()(teacher.logits, inputs, base, (base + 1) % 3)
    assert teacher(to_student(pixels(8))).shape == (4, 3)


@pytest.mark.parametrize(
    ('config', 'keys', 'message'),
    [
        ('python:my_teachers', {}, 'package.module:name'),
        ('python:my_teachers:missing', {}, 'to import'),
        ('python:no_such_module:missing', {}, 'to import'),
        ('python:my_teachers:number', {}, 'is a int'),
        ('python:my_teachers:filled', dict(arguments=dict(fctor=3)), 'fctor'),
        ('python:my_teachers:answer', dict(checkpoint='a.pth'), 'no weights'),
        (3, {}, 'neither a name'),
    ],
)
def test_what_is_refused(config, keys, message, make_teacher):
    with pytest.raises(ConfigError, match=message):
        make_teacher(config, **keys)


def test_arguments_of_a_module_itself_are_refused():
    with pytest.raises(ConfigError, match='arguments'):
        load_source(nn.Flatten(), None, dict(start_dim=1))
