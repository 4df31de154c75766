import math

import pytest
import torch

from mmbss.metrics.functional import (
    angular_similarity,
    classes_at,
    expected_calibration_error,
    kl_divergence,
    magnitude_similarity,
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
