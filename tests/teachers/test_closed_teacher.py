"""A teacher that gives logits and no gradient: what works with it, and what is refused at once."""

import pytest
import torch

from mmbss.attacks import (
    Attack,
    BSSAttack,
    RandomNoiseAttack,
    SegmentAttack,
)
from mmbss.boundary.search_checks import check_gradient
from mmbss.engine.errors import ConfigError
from mmbss.metrics import Agreement, BoundaryDistance, BoundarySimilarity, TransitionError
from mmbss.registry import ATTACKS
from mmbss.teachers import Teacher
from mmbss.teachers.sources import python_objects

WEIGHT = torch.linspace(-1, 1, 64 * 10).view(64, 10).sin()


def answer(images):
    """Logits of grey images of 8 x 8 pixels."""
    return torch.from_numpy((images.flatten(1).detach() @ WEIGHT).numpy())


answer.differentiable = False
CLOSED = dict(config=answer)
SEGMENT = dict(
    attack=dict(type='mmbss.SegmentAttack'),
    base_class='teacher',
    candidates='all',
    num_base_samples=8,
    loss=dict(type='mmbss.KDLoss'),
)


def test_distillation_from_its_logits(make_distiller, make_batch):
    model = make_distiller(
        teacher=CLOSED, type='mmbss.Distiller', losses=dict(loss_kd=dict(type='mmbss.KDLoss'))
    )
    inputs, samples = make_batch(range(10))
    losses = model.loss(inputs, samples)
    assert losses['loss_kd'] > 0
    model.parse_losses(losses)[0].backward()
    torch.testing.assert_close(model.teacher(inputs), answer(inputs))


def test_distillation_at_its_boundary(make_distiller, make_batch):
    model = make_distiller(teacher=CLOSED, boundary=SEGMENT)
    losses = model.loss(*make_batch(range(10)))
    assert losses['bss_samples'] == 8
    assert losses['bss_accepted'] > 0
    model.parse_losses(losses)[0].backward()


def test_an_attack_with_gradients_is_refused_when_the_distiller_is_built(make_distiller):
    with pytest.raises(ConfigError, match=r'loss_bss: BSSAttack needs a gradient.*SegmentAttack'):
        make_distiller(teacher=CLOSED)


def test_a_function_that_does_not_say_so_is_refused_in_the_trial(make_distiller, make_batch):
    model = make_distiller(teacher=dict(config=lambda images: answer(images)))
    with pytest.raises(ConfigError, match='no gradient'):
        model.try_terms(*make_batch(range(10)))


@pytest.mark.parametrize(
    'name', sorted(name for name, kind in ATTACKS.module_dict.items() if not kind.needs_gradient)
)
def test_attacks_that_say_so_need_none(name, make):
    inputs = torch.randn(12, 1, 8, 8)
    attack = ATTACKS.build(dict(type=name))
    teacher = make()
    base = teacher.logits(inputs).argmax(dim=1)
    bounds = (torch.full((1, 1, 1), -3.0), torch.full((1, 1, 1), 3.0))
    if attack.needs_student:
        pytest.skip('asks the student, too')
    result = attack(teacher.logits, inputs, base, base.roll(1), bounds)
    torch.testing.assert_close(result.logits, teacher.logits(result.samples), rtol=1e-3, atol=1e-3)


@pytest.fixture
def make(build_model, resnet_config):
    """The closed teacher of a student."""
    student = build_model(resnet_config())
    return lambda: Teacher(**CLOSED, student_preprocessor=student.data_preprocessor)


def test_every_attack_says_what_it_needs():
    check_gradient(SegmentAttack(), False, 'loss')
    noise = RandomNoiseAttack(dict(type='mmbss.SegmentAttack'))
    check_gradient(noise, False, 'loss')
    for attack in (BSSAttack(), RandomNoiseAttack(dict(type='mmbss.BSSAttack'))):
        check_gradient(attack, True, 'loss')
        with pytest.raises(ConfigError, match='ChosenMixAttack, RandomMixAttack'):
            check_gradient(attack, False, 'loss')
    assert Attack.needs_gradient


def test_metrics_that_need_its_gradient_are_refused(build_model, resnet_config):
    model = build_model(resnet_config())
    for metric in (
        BoundaryDistance(teacher=CLOSED),
        BoundarySimilarity(teacher=CLOSED),
        Agreement(attack=dict(type='mmbss.BSSAttack'), teacher=CLOSED),
        TransitionError(walk_on='teacher', teacher=CLOSED),
    ):
        with pytest.raises(ConfigError, match=f'{type(metric).__name__}.*gradient'):
            metric.attach(model, 10)
    for metric in (
        Agreement(teacher=CLOSED),
        Agreement(attack=dict(type='mmbss.SegmentAttack'), teacher=CLOSED),
        TransitionError(teacher=CLOSED),
    ):
        metric.attach(model, 10)


def test_it_has_no_weights_but_a_digest():
    source = python_objects.load(answer, None, {})
    assert source.digest.endswith(':answer')
    assert not source.differentiable
