"""What BSSAttack, NewtonAttack and ClosestAttack have in common."""

from functools import partial

import pytest
import torch

from mmbss.attacks import BSSAttack, ClosestAttack, NewtonAttack
from mmbss.attacks.functional import class_lead
from mmbss.engine.errors import ConfigError

ATTACKS = (
    partial(BSSAttack, num_steps=50, step_size=1.0, overshoot=0.01),
    partial(NewtonAttack, step_size=0.9, overshoot=0.01),
    partial(ClosestAttack, overshoot=0.01),
)


@pytest.fixture(params=ATTACKS, ids=lambda attack: attack.func.__name__)
def make_attack(request):
    """Each attack; keyword arguments replace its settings."""
    return request.param


def classes(*values):
    return torch.tensor(values)


def test_sample_outside_its_base_class_stays(make_attack):
    samples = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.5, 0.0]])
    for third_class in ('reject', 'accept'):
        attack = make_attack(third_class=third_class)
        result = attack(torch.clone, samples, classes(0, 0), classes(1, 1))
        assert result.success.tolist() == [False, True]
        assert result.steps[0].item() == 0
        assert torch.equal(result.samples[0], samples[0])


def test_sample_that_a_third_class_wins_from_the_start_stays(make_attack):
    samples = torch.tensor([[0.0, 0.5, 1.0]])
    for third_class in ('reject', 'accept'):
        attack = make_attack(third_class=third_class)
        result = attack(torch.clone, samples, classes(0), classes(1))
        assert result.success.tolist() == [False]
        assert result.target.tolist() == [1]
        assert result.steps.tolist() == [0]
        assert torch.equal(result.samples, samples)


def test_vanishing_gradient_stays_and_is_rejected(make_attack):
    def flat(inputs):
        return torch.tensor([[1.0, 0.0]]) + 0.0 * inputs[:, :1] * torch.ones(1, 2)

    result = make_attack()(flat, torch.ones(2, 3), classes(0, 0), classes(1, 1))
    assert torch.equal(result.samples, torch.ones(2, 3))
    assert not result.success.any()
    assert all(torch.isfinite(value) for value in result.statistics().values())


def test_no_sample(make_attack, network):
    nothing = torch.zeros(0, dtype=torch.int64)
    result = make_attack()(network, torch.zeros(0, 3, 6, 6), nothing, nothing)
    assert result.samples.shape == (0, 3, 6, 6)
    assert result.logits.shape == (0, 5)
    assert set(result.statistics()) >= {'accepted', 'third_class', 'not_crossed', 'steps', 'gap'}
    assert all(value.item() == 0 for value in result.statistics().values())


def test_one_sample_equals_its_row_in_a_batch(make_attack, network, images):
    base, target = network(images).topk(2).indices.T
    attack = make_attack()
    together = attack(network, images, base, target)
    for row in (0, 7):
        alone = attack(network, images[row : row + 1], base[row : row + 1], target[row : row + 1])
        torch.testing.assert_close(alone.samples[0], together.samples[row], atol=1e-4, rtol=0)
        assert alone.steps[0] == together.steps[row]


def test_result_agrees_with_the_model(make_attack, network, images):
    base, target = network(images).topk(2).indices.T
    result = make_attack()(network, images, base, target)
    with torch.no_grad():
        torch.testing.assert_close(result.logits, network(result.samples), atol=1e-4, rtol=0)
    assert not result.samples.requires_grad
    assert not result.logits.requires_grad
    assert result.success.any()
    assert (class_lead(result.logits, base)[result.success] < 0).all()


def test_model_is_left_as_it_was(make_attack, network, images):
    base, target = network(images).topk(2).indices.T
    network[0].weight.grad = torch.full_like(network[0].weight, 7.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    samples = images.clone().requires_grad_()
    make_attack()(network, samples, base, target)
    assert samples.grad is None
    assert torch.equal(samples.detach(), images)
    assert (network[0].weight.grad == 7.0).all()
    assert all(p.grad is None for name, p in network.named_parameters() if name != '0.weight')
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert not network.training


def test_arguments_are_left_as_they_were(make_attack, network, images):
    base, target = (row.clone() for row in network(images).topk(2).indices.T)
    target_before = target.clone()
    make_attack(third_class='accept')(network, images, base, target)
    assert torch.equal(target, target_before)


def test_works_under_no_grad(make_attack, network, images):
    base, target = network(images).topk(2).indices.T
    expected = make_attack()(network, images, base, target)
    with torch.no_grad():
        result = make_attack()(network, images, base, target)
        assert not torch.is_grad_enabled()
    assert torch.equal(result.samples, expected.samples)


def test_half_precision_logits(make_attack, network, images):
    base, target = network(images).topk(2).indices.T
    result = make_attack()(lambda x: network(x).bfloat16(), images, base, target)
    assert result.samples.dtype == result.logits.dtype == torch.float32
    assert result.success.any()
    assert torch.isfinite(result.samples).all()


def test_only_moving_samples_are_in_the_batch(make_attack):
    sizes = []

    def model(inputs):
        sizes.append(len(inputs))
        return torch.clone(inputs)

    # the third sample never moves
    samples = torch.tensor([[1.01, 1.0, 0.0], [9.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    result = make_attack()(model, samples, classes(0, 0, 0), classes(1, 1, 1))
    assert result.success.tolist() == [True, True, False]
    assert sizes[0] == 3
    assert all(size <= 2 for size in sizes[1:])


def test_third_class_can_be_accepted_as_the_new_target(make_attack, linear_model):
    model = linear_model([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    attack = make_attack(third_class='accept')
    result = attack(model, torch.tensor([[2.0, 0.5]]), classes(0), classes(1))
    assert result.success.tolist() == [True]
    assert result.target.tolist() == [2]
    assert result.statistics()['third_class'].item() == 0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_steps=0), 'num_steps'),
        (dict(step_size=0.0), 'step_size'),
        (dict(step_size=float('nan')), 'step_size'),
        (dict(overshoot=-1e-4), 'overshoot'),
        (dict(third_class='keep'), 'third_class'),
    ],
)
@pytest.mark.parametrize('kind', [BSSAttack, NewtonAttack, ClosestAttack])
def test_parameters_out_of_range_are_refused(kind, options, message):
    with pytest.raises(ConfigError, match=f'{kind.__name__}: {message}'):
        kind(**options)
