import pytest
import torch

from mmbss.attacks import NewtonAttack
from mmbss.attacks.functional import class_lead


def classes(*values):
    return torch.tensor(values)


def test_defaults_damp_the_step():
    attack = NewtonAttack()
    assert (attack.num_steps, attack.step_size, attack.overshoot) == (10, 0.85, 0.05)
    assert attack.third_class == 'reject'


@pytest.mark.parametrize('slope', [0.5, 1.0, 4.0])
def test_a_step_ends_at_the_same_margin_whatever_the_slope(slope):
    samples = torch.tensor([[2.0 / slope, 0.0]])
    attack = NewtonAttack(num_steps=1, step_size=0.85, overshoot=0.05)
    result = attack(lambda inputs: slope * inputs, samples, classes(0), classes(1))
    # (1 - eta) L - eta eps
    assert class_lead(result.logits, classes(0)).item() == pytest.approx(0.15 * 2 - 0.85 * 0.05)


def test_a_straggler_walks_alone():
    sizes = []

    def model(inputs):
        sizes.append(len(inputs))
        return torch.clone(inputs)

    samples = torch.tensor([[1.01, 1.0, 0.0], [9.0, 0.0, 0.0]])
    attack = NewtonAttack(step_size=0.9, overshoot=0.1)
    result = attack(model, samples, classes(0, 0), classes(1, 1))
    assert result.success.tolist() == [True, True]
    assert result.steps.tolist() == [1, 2]
    assert sizes == [2, 2, 1]


def test_where_most_samples_are_to_leave_only_the_stragglers_pay_for_a_second_gradient():
    passes = []

    def model(inputs):
        passes.append((len(inputs), inputs.requires_grad))
        return torch.clone(inputs)

    samples = torch.tensor([[1.01, 1.0, 0.0], [1.02, 1.0, 0.0], [9.0, 0.0, 0.0]])
    attack = NewtonAttack(num_steps=2, step_size=0.9, overshoot=0.1)
    result = attack(model, samples, classes(0, 0, 0), classes(1, 1, 1))
    assert result.steps.tolist() == [1, 1, 2]
    assert passes == [(3, True), (3, False), (1, True), (1, False)]
    # the margin of the last one after two steps, (1 - 0.9) L - 0.9 * 0.1 each
    assert class_lead(result.logits, classes(0, 0, 0))[2].item() == pytest.approx(-0.009, abs=1e-5)
