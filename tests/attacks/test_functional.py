import math
from contextlib import nullcontext

import pytest
import torch

from mmbss.attacks import BSSAttack
from mmbss.attacks.base import accept
from mmbss.attacks.functional import (
    class_lead,
    has_softmax,
    highest_other_logit,
    in_base_class,
    in_target_class,
    margin,
    newton_step,
    project,
    published_step,
    pull_to_base,
)
from mmbss.engine.errors import ConfigError

LOGITS = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
BASE = torch.tensor([0, 1, 2, 3, 4, 0, 1])
TARGET = torch.tensor([1, 0, 4, 2, 0, 3, 2])
GRADIENT = torch.randn(7, 3, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_margin_is_the_difference_of_two_logits(dtype):
    logits = LOGITS.to(dtype)
    result = margin(logits, BASE, TARGET)
    assert result.dtype == torch.float32
    for row in range(len(logits)):
        expected = float(logits[row, BASE[row]]) - float(logits[row, TARGET[row]])
        assert result[row].item() == pytest.approx(expected, abs=1e-6)


def test_margin_has_gradient_one_and_minus_one():
    logits = LOGITS.clone().requires_grad_()
    margin(logits, BASE, TARGET).sum().backward()
    expected = torch.zeros_like(LOGITS)
    for row in range(len(LOGITS)):
        expected[row, BASE[row]] = 1.0
        expected[row, TARGET[row]] = -1.0
    assert torch.equal(logits.grad, expected)


def test_class_decisions_agree_with_a_loop():
    highest = highest_other_logit(LOGITS, BASE, TARGET)
    lead = class_lead(LOGITS, BASE)
    in_base, in_target = in_base_class(LOGITS, BASE), in_target_class(LOGITS, BASE, TARGET)
    for row, logits in enumerate(LOGITS.tolist()):
        b, k = BASE[row].item(), TARGET[row].item()
        others = [value for index, value in enumerate(logits) if index not in (b, k)]
        assert highest[row].item() == pytest.approx(max(others))
        assert lead[row].item() == pytest.approx(logits[b] - max(*others, logits[k]), abs=1e-6)
        assert in_base[row].item() == (max(logits) == logits[b])
        assert in_target[row].item() == (logits[k] > logits[b] and max(logits) == logits[k])


def test_two_classes_leave_no_third():
    logits = torch.tensor([[1.0, 2.0]])
    base, target = torch.tensor([0]), torch.tensor([1])
    assert highest_other_logit(logits, base, target).item() == -math.inf
    assert in_target_class(logits, base, target).item()


def test_a_tie_belongs_to_the_base_class():
    logits = torch.tensor([[1.0, 1.0]])
    assert in_base_class(logits, torch.tensor([0])).item()
    assert not in_target_class(logits, torch.tensor([0]), torch.tensor([1])).item()


@pytest.mark.parametrize(('step', 'power'), [(published_step, 1), (newton_step, 2)])
def test_steps_follow_their_formulas(step, power):
    margins = torch.linspace(-1, 5, 7)
    change = step(margins, GRADIENT, 0.3, 1e-2)
    for row in range(7):
        gradient = GRADIENT[row].flatten().tolist()
        norm = math.sqrt(sum(value**2 for value in gradient))
        expected = [-0.3 * (margins[row].item() + 1e-2) * g / norm**power for g in gradient]
        torch.testing.assert_close(change[row].flatten(), torch.tensor(expected))


@pytest.mark.parametrize('step', [published_step, newton_step])
def test_steps_stand_still_where_the_gradient_vanishes(step):
    gradient = GRADIENT.clone()
    gradient[2] = 0.0
    change = step(torch.ones(7), gradient, 0.3, 1e-4)
    assert change[2].abs().max() == 0
    assert torch.isfinite(change).all()
    assert (change.flatten(1).norm(dim=1) > 0).sum() == 6


@pytest.mark.parametrize('step', [published_step, newton_step])
def test_steps_are_float32_for_half_precision_gradients(step):
    assert step(torch.ones(7), GRADIENT.bfloat16(), 0.3, 0.0).dtype == torch.float32


@pytest.mark.parametrize('step', [published_step, newton_step])
@pytest.mark.parametrize('size', [1e-18, 1e-20, 1e-22, 1e-30, 1e-43])
def test_steps_are_finite_where_the_gradient_nearly_vanishes(step, size):
    change = step(torch.tensor([1.0]), torch.tensor([[size, 0.0]]), 0.3, 1e-4)
    assert change.isfinite().all()
    assert change[0, 1] == 0


def test_full_newton_step_solves_a_linear_margin():
    point, weight = torch.tensor([[3.0, -1.0]]), torch.tensor([[2.0, 1.0]])
    value = (point * weight).sum(dim=1)
    end = point + newton_step(value, weight, 1.0, 0.0)
    assert (end * weight).sum().item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_pulling_keeps_the_component_along_the_gradient(share):
    displacement = torch.randn(7, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    pulled = pull_to_base(displacement, GRADIENT, share)
    for row in range(7):
        g, d = GRADIENT[row].flatten(), displacement[row].flatten()
        along = (d @ g) / (g @ g) * g
        expected = along + (1 - share) * (d - along)
        torch.testing.assert_close(pulled[row].flatten(), expected)


def test_pulling_is_finite_where_the_gradient_vanishes():
    displacement = torch.ones(2, 3)
    assert torch.equal(pull_to_base(displacement, torch.zeros(2, 3), 0.5), displacement / 2)


def test_project_clamps_each_channel_to_its_own_bounds():
    samples = torch.tensor([-9.0, 0.0, 9.0]).view(1, 1, 1, 3).repeat(2, 2, 1, 1)
    lowest, highest = torch.tensor([-1.0, -2.0]), torch.tensor([3.0, 4.0])
    result = project(samples, (lowest.view(2, 1, 1), highest.view(2, 1, 1)))
    assert result[0, 0].flatten().tolist() == [-1.0, 0.0, 3.0]
    assert result[1, 1].flatten().tolist() == [-2.0, 0.0, 4.0]


def test_project_without_bounds_changes_nothing():
    assert project(GRADIENT, None) is GRADIENT


def test_project_keeps_the_dtype_of_the_samples():
    bounds = torch.tensor(-1.0).double(), torch.tensor(1.0).double()
    assert project(GRADIENT, bounds).dtype == torch.float32
    assert project(GRADIENT.bfloat16(), bounds).dtype == torch.bfloat16


def test_a_tie_with_a_third_class_belongs_to_the_target_class():
    logits = torch.tensor([[0.0, 1.0, 1.0]])
    assert in_target_class(logits, torch.tensor([0]), torch.tensor([1])).item()


# ---------------------------------------------------------------- what is possible, and bounds


def test_a_softmax_needs_a_class_that_is_possible():
    inf = math.inf
    rows = torch.tensor([[1.0, -inf], [-inf, -inf], [inf, 0.0], [math.nan, 0.0]])
    assert has_softmax(rows).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ('bounds', 'fit'),
    [
        ((0.0, 255.0), True),
        ((0.0, 30.0), True),  # tighter than the pixels
        ((255.0, 0.0), False),
        ((0.0, 1.0), False),
        ((torch.zeros(2), torch.tensor([255.0, 0.0])), False),
        ((torch.tensor([0.0, -9.0]), torch.tensor([255.0, -1.0])), False),
        ((torch.tensor([0.0, 255.0]), torch.tensor([255.0, 255.0])), True),  # one stays
        ((0.0, 0.0), False),
        ((math.nan, 255.0), False),
        ((0.0, 128.0, 255.0), False),
    ],
)
def test_bounds_of_other_units_or_in_the_wrong_order_are_refused(bounds, fit):
    samples = torch.tensor([[0.0, 255.0], [3.0, 255.01]])
    with nullcontext() if fit else pytest.raises(ConfigError, match='bounds'):
        BSSAttack()(torch.clone, samples, torch.tensor([1, 1]), torch.tensor([0, 0]), bounds)


def test_a_sample_whose_logits_are_infinite_is_not_accepted():
    logits = torch.tensor([[-0.5, torch.inf], [-0.5, 0.5]])
    classes = torch.zeros(2, dtype=torch.int64)
    found = accept(
        torch.zeros(2, 1),
        logits,
        classes,
        classes + 1,
        classes,
        attacked=torch.ones(2, dtype=torch.bool),
        targeted=True,
    )
    assert found.success.tolist() == [False, True]
