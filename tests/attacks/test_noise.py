import pytest
import torch

from mmbss.attacks import BSSAttack, FGSMAttack, RandomNoiseAttack
from mmbss.attacks.noise import random_perturbation
from mmbss.engine.errors import ConfigError
from mmbss.registry import ATTACKS


def test_every_perturbation_is_as_long_as_that_of_the_wrapped_attack(
    network, attacked, check_result
):
    other = BSSAttack()(network, *attacked)
    result = check_result(RandomNoiseAttack(dict(type='BSSAttack')), network, *attacked, None)
    lengths = [(r.samples - attacked[0]).flatten(1).norm(dim=1) for r in (other, result)]
    torch.testing.assert_close(*lengths)
    assert torch.equal(result.steps, other.steps)
    assert torch.equal(result.target, attacked[2])


def test_directions_are_random_and_those_of_the_seed(network, attacked):
    attack = RandomNoiseAttack(dict(type='BSSAttack'))
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(attack(network, *attacked).samples)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_directions_are_uniform_on_the_sphere():
    directions = random_perturbation(torch.zeros(20000, 3), torch.ones(20000))
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(20000))
    torch.testing.assert_close(directions.mean(dim=0), torch.zeros(3), atol=0.02, rtol=0)
    # each coordinate of a uniform direction in space is uniform on [-1, 1]
    torch.testing.assert_close(
        directions.square().mean(dim=0), torch.full((3,), 1 / 3), atol=0.02, rtol=0
    )


def test_noise_stays_within_the_bounds(network, attacked, channel_bounds, check_result):
    attack = RandomNoiseAttack(dict(type='BSSAttack', step_size=20.0))
    check_result(attack, network, *attacked, channel_bounds)


def test_sample_that_the_wrapped_attack_leaves_alone_stays(network, attacked, check_result):
    samples, base, target = attacked
    result = check_result(
        RandomNoiseAttack(dict(type='BSSAttack')), network, samples, target, base, None
    )
    assert torch.equal(result.samples, samples)
    assert not result.success.any()


def test_noise_that_happens_to_cross_the_boundary_is_accepted():
    attack = RandomNoiseAttack(dict(type='NewtonAttack', step_size=0.3, overshoot=1.0))
    samples = torch.tensor([[1.0, 0.99]]).repeat(200, 1)
    base = torch.zeros(200, dtype=torch.int64)
    result = attack(torch.clone, samples, base, base + 1)
    assert torch.equal(result.success, result.samples[:, 1] > result.samples[:, 0])
    assert 0.4 < result.statistics()['accepted'] < 0.6


def test_no_sample(network):
    attack = RandomNoiseAttack(dict(type='BSSAttack'))
    nobody = torch.zeros(0, dtype=torch.int64)
    result = attack(network, torch.zeros(0, 3, 6, 6), nobody, nobody)
    assert result.samples.shape == (0, 3, 6, 6)
    assert result.statistics()['accepted'] == 0


def test_noise_is_measured_as_the_wrapped_attack_is():
    assert not RandomNoiseAttack(dict(type='BSSAttack')).in_pixels
    assert RandomNoiseAttack(dict(type='FGSMAttack')).in_pixels
    assert isinstance(RandomNoiseAttack(dict(type='mmbss.FGSMAttack')).attack, FGSMAttack)


@pytest.mark.parametrize(
    ('attack', 'message'),
    [
        ('BSSAttack', 'RandomNoiseAttack.attack must be a dict'),
        (dict(type='BSSAttack', stepsize=1), "no key 'stepsize', did you mean 'step_size'"),
    ],
)
def test_what_is_no_attack_is_refused(attack, message):
    with pytest.raises(ConfigError, match=message):
        ATTACKS.build(dict(type='RandomNoiseAttack', attack=attack))


def test_the_wrapped_attack_is_told_the_bounds(monkeypatch):
    attack = RandomNoiseAttack(dict(type='BSSAttack'))
    seen = []

    def run(*arguments):
        seen.append(arguments[-1])
        return BSSAttack().run(*arguments)

    monkeypatch.setattr(attack.attack, 'run', run)
    bounds = (-3.0, 3.0)
    attack(torch.clone, torch.tensor([[2.0, 0.0]]), torch.tensor([0]), torch.tensor([1]), bounds)
    assert seen == [bounds]


def test_noise_that_crosses_into_a_third_class_is_rejected():
    attack = RandomNoiseAttack(dict(type='NewtonAttack', step_size=0.3, overshoot=1.0))
    samples = torch.tensor([[1.0, 0.99, 0.99]]).repeat(100, 1)
    base = torch.zeros(100, dtype=torch.int64)
    result = attack(torch.clone, samples, base, base + 1)
    reached = result.logits.argmax(dim=1)
    assert set(reached.tolist()) == {0, 1, 2}
    assert torch.equal(result.target, base + 1)
    assert torch.equal(result.success, reached == 1)
