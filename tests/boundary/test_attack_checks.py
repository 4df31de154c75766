"""Attacks of somebody's own that do not do as they promise."""

from dataclasses import replace

import pytest
import torch

from mmbss.attacks import Attack, AttackResult, NewtonAttack, SegmentAttack
from mmbss.boundary.attack_checks import broken_promise, rehearsed
from mmbss.engine.errors import ConfigError


class Own(NewtonAttack):
    """Changes what another attack returns, as a test says."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def run(self, model, samples, base, target, bounds):
        result = super().run(model, samples, base, target, bounds)
        return self.change(result, model(samples).detach())


class OwnSegment(SegmentAttack):
    """Moves toward another image, with no word more."""


def changed(**changes):
    """Replace parts of a result by what functions make of it."""
    return lambda result, before: replace(
        result, **{name: change(result, before) for name, change in changes.items()}
    )


@pytest.fixture
def try_attack(make_distiller, make_batch):
    """Try a distiller with an attack on four images, or train it."""

    def try_attack(attack, tried=True, **settings):
        distiller = make_distiller(**settings)
        distiller.terms['loss_bss'].attack = attack
        inputs, samples = make_batch(range(4))
        # within pixels 0 and 255
        return (distiller.try_terms if tried else distiller.loss)(inputs.abs(), samples)

    return try_attack


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            changed(samples=lambda result, _: result.samples + 1000),
            r'moves samples by \S+ beyond the bounds: clamp',
        ),
        (changed(logits=lambda _, before: before), 'returns logits that the model does not give'),
        (changed(logits=lambda result, _: result.logits * torch.nan), 'returns logits'),
        (changed(logits=lambda result, _: result.logits[:, 1:]), r'logits of .*\(4, 10\)'),
        (changed(samples=lambda result, _: result.samples * torch.nan), 'NaN or infinity'),
        (changed(samples=lambda result, _: result.samples[1:]), r'samples of .*\(4, 1, 8, 8\)'),
        (changed(success=lambda result, _: result.success[:1]), r'success of .*\(4,\)'),
        (changed(success=lambda result, _: result.success.long()), r'success .*type torch\.bool'),
        (changed(target=lambda *_: None), 'returns target of None'),
        (lambda result, _: (result.samples, result.logits), 'returns a tuple: return a .*Result'),
    ],
)
def test_what_is_not_as_promised_is_refused_before_the_training(try_attack, change, message):
    with pytest.raises(ConfigError, match=rf'^losses\.loss_bss: Own .*{message}'):
        try_attack(Own(change))


@pytest.mark.parametrize('precision', ['float32', 'bfloat16', 'float16'])
def test_an_attack_that_keeps_its_promise_is_left_alone(try_attack, make_teacher, precision):
    teacher = make_teacher(acceleration=dict(precision=precision, fuse_bn=True))
    attack = Own(lambda result, _: result)
    try_attack(attack, teacher=teacher)
    assert 'run' not in vars(attack)


def test_one_toward_partners_and_one_by_classes_alone_too(try_attack, boundary_config):
    for says in ('logits', 'class'):
        boundary = boundary_config(attack=dict(type='mmbss.SegmentAttack'), teacher_says=says)
        try_attack(OwnSegment(), boundary=dict(boundary, base_samples='random'))


def test_a_training_pays_nothing_for_it(try_attack):
    losses = try_attack(Own(changed(logits=lambda _, before: before)), tried=False)
    assert losses['loss_bss'] >= 0


class InPlace(Attack):
    """Adds to what it gets."""

    def run(self, model, samples, base, target, bounds):
        """See the base class."""
        samples += 1
        yes = torch.ones_like(base)
        return AttackResult(samples, model(samples), base, target, yes > 0, yes)


def test_samples_that_start_outside_may_stay_there():
    start, classes = torch.tensor([[5.0, 0.0]]), torch.tensor([0])
    with rehearsed(attack := InPlace(), 'here'):
        attack(torch.clone, start, classes, classes + 1, (-1.0, 8.0))
        with pytest.raises(ConfigError, match=r'^here: InPlace moves samples by 1 beyond'):
            attack(torch.clone, start, classes, classes + 1, (-1.0, 4.0))
        assert not len(attack(torch.clone, start[:0], classes[:0], classes[:0]).samples)
    stays = AttackResult(start, start, classes, classes + 1, classes > 0, classes)
    assert broken_promise(stays, torch.clone, start, (-1.0, 4.0)) is None


def test_what_the_model_says_may_be_infinite():
    start, classes = torch.tensor([[5.0, -torch.inf]]), torch.tensor([0])
    moved = AttackResult(start * 0 + 1, start, classes, classes + 1, classes > 0, classes)
    assert broken_promise(moved, lambda _: start, moved.samples.nan_to_num(), None)
    moved = replace(moved, samples=torch.ones(1, 2))
    assert broken_promise(moved, lambda _: start, torch.ones(1, 2), None) is None


def test_what_is_attacked_is_left_as_it_is():
    start, classes = torch.tensor([[5.0, 0.0]]), torch.tensor([0])
    found = InPlace()(torch.clone, start, classes, classes + 1)
    assert found.samples.tolist() == [[6.0, 1.0]]
    assert start.tolist() == [[5.0, 0.0]]
