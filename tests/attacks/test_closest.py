import pytest
import torch

from mmbss.attacks import ClosestAttack, NewtonAttack
from mmbss.attacks.functional import class_lead
from mmbss.engine.errors import ConfigError


def classes(*values):
    return torch.tensor(values)


def test_defaults_aim_close():
    attack = ClosestAttack()
    assert (attack.num_steps, attack.step_size, attack.overshoot) == (10, 1.3, 0.015)
    assert (attack.num_refinements, attack.third_class) == (8, 'reject')


@pytest.mark.parametrize('options', [dict(overshoot=0.0), dict(num_refinements=0)])
def test_search_without_an_aim_or_a_pass_is_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        ClosestAttack(**options)
    assert ClosestAttack(num_refinements=1).num_refinements == 1


def test_on_a_linear_model_is_the_projection(linear_model):
    torch.manual_seed(0)
    weight = torch.randn(2, 20)
    samples = torch.randn(8, 20)
    base, target = (samples @ weight.T).topk(2).indices.T
    model = linear_model(weight.tolist())
    result = ClosestAttack(step_size=0.8, overshoot=1e-3)(model, samples, base, target)
    for row in range(8):
        normal = weight[base[row]] - weight[target[row]]
        distance = (samples[row] @ normal / normal.norm()).item()
        moved = (result.samples[row] - samples[row]).norm().item()
        assert moved == pytest.approx(distance, abs=5e-3)
    assert result.success.all()
    assert (class_lead(result.logits, base) >= -3.01e-3).all()


def test_ends_closer_to_the_boundary_and_the_base_sample(network, images):
    base, target = network(images).topk(2).indices.T
    newton = NewtonAttack(step_size=0.85, overshoot=0.05)
    closest = ClosestAttack(overshoot=0.01, third_class='accept')
    reached = newton(network, images, base, target)
    result = closest(network, images, base, target)
    assert result.success.all()
    assert (class_lead(result.logits, base) >= -0.0301).all()
    length = (result.samples - images).flatten(1).norm(dim=1).mean()
    assert length < (reached.samples - images).flatten(1).norm(dim=1).mean()


def test_never_leaving_the_base_class_returns_the_base_sample():
    def bounded(inputs):
        return torch.stack([1 + inputs[:, 0].sigmoid(), torch.zeros(len(inputs))], dim=1)

    samples = torch.ones(2, 3)
    attack = ClosestAttack(num_steps=4, step_size=1.0, overshoot=0.01)
    result = attack(bounded, samples, classes(0, 0), classes(1, 1))
    assert torch.equal(result.samples, samples)
    assert not result.success.any()
    assert result.steps.tolist() == [4, 4]


@pytest.mark.parametrize('third_class', ['reject', 'accept'])
@pytest.mark.parametrize('start', [0.5, 2.0])
def test_takes_two_pulled_steps_near_the_boundary_and_a_search(start, third_class):
    leads = []

    def model(inputs):
        leads.append(inputs[:, 0] - inputs[:, 1])
        return torch.clone(inputs)

    samples = torch.tensor([[start, 0.0, -9.0], [2 * start, 0.0, -9.0]])
    attack = ClosestAttack(step_size=0.8, overshoot=0.01, third_class=third_class)
    result = attack(model, samples, classes(0, 0), classes(1, 1))
    assert result.success.all()
    assert result.steps.tolist() == [3, 3]
    first = torch.tensor([start, 2 * start])
    path = [first, first - 0.8 * (first + 0.01), first - 1.1 * (first + 0.01)]
    # both pulled steps end at the same place, from where the margin along the ray is a line
    path += [path[-1], torch.full((2,), -0.01)]
    torch.testing.assert_close(torch.stack(leads), torch.stack(path), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        class_lead(result.logits, classes(0, 0)), path[-1], rtol=1e-2, atol=0
    )


def test_searches_also_after_a_single_step():
    samples = torch.tensor([[2.0, 0.0, -9.0]])
    attack = ClosestAttack(num_steps=1, step_size=0.8, overshoot=0.01)
    result = attack(torch.clone, samples, classes(0), classes(1))
    assert result.steps.tolist() == [1]
    assert result.success.tolist() == [True]


def test_turns_to_the_boundary_that_is_left():
    # the third class is nearly as strong as the base class, the target far behind: the path
    # ends closer to the closest point than to where the way straight to the target crosses
    samples = torch.tensor([[2.0, 0.0, 1.5]])
    attack = ClosestAttack(step_size=0.8, overshoot=0.01, third_class='accept')
    result = attack(torch.clone, samples, classes(0), classes(1))
    assert result.success.tolist() == [True]
    shortest, straight = (
        (torch.tensor(point) - samples).norm().item()
        for point in ((1.75, 0.0, 1.75), (1.5, 0.5, 1.5))
    )
    assert shortest < (result.samples - samples).norm().item() < (shortest + straight) / 2
