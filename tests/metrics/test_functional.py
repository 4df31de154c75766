import math

import pytest
import torch

from mmbss.attacks.mixes import divergence
from mmbss.metrics.functional import (
    angular_similarity,
    class_probability,
    classes_at,
    expected_calibration_error,
    fit_temperature,
    kl_divergence,
    magnitude_similarity,
    other_classes,
    same_decision,
)


def lengths_and_product(first, second):
    first, second = first.flatten().tolist(), second.flatten().tolist()
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return math.hypot(*first), math.hypot(*second), product


def test_similarities_are_those_of_the_formulas():
    first, second = torch.randn(2, 6, 3, 4, 4)
    mag, ang = magnitude_similarity(first, second), angular_similarity(first, second)
    assert mag.shape == ang.shape == (6,)
    for row in range(6):
        one, other, product = lengths_and_product(first[row], second[row])
        assert mag[row] == pytest.approx(min(one, other) / max(one, other), rel=1e-5)
        assert ang[row] == pytest.approx(product / (one * other), abs=1e-6)


@pytest.mark.parametrize('scale', [1e-18, 1.0, 1e15])
def test_similarities_of_a_perturbation_with_multiples_of_itself(scale):
    one = scale * torch.randn(5, 8)
    assert torch.allclose(magnitude_similarity(one, -4 * one), torch.full((5,), 0.25))
    assert torch.allclose(angular_similarity(one, 4 * one), torch.ones(5))
    assert torch.allclose(angular_similarity(one, -4 * one), -torch.ones(5))


def test_similarities_without_a_direction_are_defined():
    zero, one = torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert magnitude_similarity(zero, one).tolist() == [0.0, 1.0]
    assert angular_similarity(zero, one).tolist() == [0.0, 0.0]


def test_no_sample_has_no_similarity():
    none = torch.zeros(0, 3, 4, 4)
    assert magnitude_similarity(none, none).shape == angular_similarity(none, none).shape == (0,)


def test_low_precision_is_computed_in_float32():
    first, second = torch.randn(2, 4, 50).bfloat16()
    for function in (magnitude_similarity, angular_similarity, kl_divergence):
        assert function(first, second).dtype == torch.float32
        assert torch.equal(function(first, second), function(first.float(), second.float()))


def test_kl_divergence_is_that_of_the_formula():
    teacher, student = torch.randn(2, 5, 4)
    kl = kl_divergence(teacher, student)
    for row in range(5):
        p, q = (
            [math.exp(x) / sum(math.exp(y) for y in logits) for x in logits]
            for logits in (teacher[row].tolist(), student[row].tolist())
        )
        expected = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert kl[row] == pytest.approx(expected, abs=1e-6)
    assert torch.equal(kl_divergence(teacher, teacher), torch.zeros(5))


def test_kl_divergence_of_a_saturated_softmax_is_finite():
    sure = torch.tensor([[500.0, 0.0, -500.0]])
    assert kl_divergence(sure, -sure).item() == pytest.approx(1000.0)
    assert kl_divergence(sure, sure).item() == 0.0


def test_same_decision_compares_the_classes_decided_for():
    first = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    second = torch.tensor([[9.0, 8.0], [0.0, -1.0]])
    assert same_decision(first, second).tolist() == [True, False]


@pytest.mark.parametrize('num_bins', [1, 7, 15])
def test_calibration_error_is_that_of_the_formula(num_bins):
    confidence = torch.rand(200)
    correct = torch.rand(200) < 0.7
    expected = 0.0
    for index in range(num_bins):
        low, high = index / num_bins, (index + 1) / num_bins
        rows = [row for row in range(200) if low < confidence[row] <= high]
        if rows:
            accuracy = sum(bool(correct[row]) for row in rows) / len(rows)
            mean = sum(float(confidence[row]) for row in rows) / len(rows)
            expected += len(rows) / 200 * abs(accuracy - mean)
    error = expected_calibration_error(confidence, correct, num_bins)
    assert error.item() == pytest.approx(expected, abs=1e-5)


def test_calibration_error_at_the_ends():
    sure, right = torch.tensor([1.0, 0.0]), torch.tensor([True, False])
    assert expected_calibration_error(sure, right) == 0
    assert expected_calibration_error(sure, ~right) == 1
    assert expected_calibration_error(sure[:0], right[:0]) == 0


def test_classes_are_drawn_by_their_probabilities():
    probabilities = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]])
    uniforms = torch.linspace(0, 1, 1001)[:-1]
    drawn = classes_at(probabilities.expand(1000, 5), uniforms)
    assert drawn.bincount(minlength=5).tolist() == [0, 300, 0, 700, 0]


def test_the_largest_number_below_one_draws_a_possible_class():
    probabilities = torch.rand(1000, 10).softmax(dim=1)
    probabilities[:, 9] = 0
    drawn = classes_at(probabilities, torch.full((1000,), 1 - 2**-24))
    assert drawn.eq(8).all()


def test_the_temperature_is_the_one_with_the_least_cross_entropy():
    logits = 5 * torch.randn(300, 4).double()
    labels = torch.multinomial((logits / 2).softmax(dim=1), 1).squeeze(1)
    fitted = fit_temperature(logits, labels)
    grid = [math.exp(step / 100) for step in range(-100, 200)]
    losses = [float(torch.nn.functional.cross_entropy(logits / t, labels)) for t in grid]
    assert fitted == pytest.approx(grid[losses.index(min(losses))], rel=0.02)


def test_a_temperature_without_an_optimum_ends_at_a_bound():
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0]]).double()
    assert fit_temperature(logits, torch.tensor([0, 1])) == pytest.approx(0.01)
    assert fit_temperature(logits, torch.tensor([1, 0])) == pytest.approx(100)
    assert fit_temperature(logits[:0], torch.tensor([]).long()) == 1


@pytest.mark.parametrize('count', [1, 3, None])
def test_other_classes_have_equal_chances_and_no_class_comes_twice(count):
    uniforms = (torch.arange(4000) + 0.5) / 4000
    drawn = other_classes(torch.full((4000,), 2), 5, uniforms, count)
    assert drawn.shape == (4000, count or 4)
    times = 1000 * (count or 4)
    assert drawn.flatten().bincount().tolist() == [times, times, 0, times, times]
    assert all(len(set(row)) == len(row) for row in drawn[::500].tolist())


def test_the_largest_number_below_one_draws_another_class():
    drawn = other_classes(torch.arange(10), 10, torch.full((10,), 1 - 2**-24), 9)
    assert (drawn != torch.arange(10).unsqueeze(1)).all()


def test_the_probability_of_a_class_is_its_softmax():
    logits, classes = torch.randn(6, 4), torch.randint(4, (6,))
    probabilities = class_probability(logits.half(), classes)
    assert probabilities.dtype == torch.float32
    for row in range(6):
        expected = logits[row].half().float().softmax(dim=0)[classes[row]]
        assert probabilities[row] == pytest.approx(float(expected), abs=1e-6)


def test_a_class_that_the_teacher_rules_out_adds_nothing_to_the_divergence():
    teacher, student = torch.tensor([[1.0, 2.0, -torch.inf]]), torch.tensor([[0.0, 3.0, 0.5]])
    q_t, q_s = teacher.softmax(1)[0, :2], student.softmax(1)[0, :2]
    expected = (q_t * (q_t / q_s).log()).sum()
    torch.testing.assert_close(kl_divergence(teacher, student)[0], expected)
    torch.testing.assert_close(divergence(teacher, student)[0], expected)
    possible = torch.where(teacher > -torch.inf, student, teacher)
    assert kl_divergence(teacher, possible).isfinite()
    assert divergence(teacher, possible).isfinite()


def test_the_divergence_of_what_is_no_number_is_none():
    nan, student = torch.tensor([[torch.nan, 1.0]]), torch.zeros(1, 2)
    for pair in ((nan, student), (student, nan)):
        assert kl_divergence(*pair).isnan().all()
        assert divergence(*pair).isnan().all()
