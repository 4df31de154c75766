import math

import pytest
import torch

from mmbss.losses import DISTLoss, dist_loss
from mmbss.losses.dist_loss import pearson_correlation


def loop_correlation(first, second):
    """Pearson's correlation coefficient of two lists, as written."""
    mean_a, mean_b = sum(first) / len(first), sum(second) / len(second)
    covariance = sum((a - mean_a) * (b - mean_b) for a, b in zip(first, second, strict=True))
    spread_a = sum((a - mean_a) ** 2 for a in first)
    spread_b = sum((b - mean_b) ** 2 for b in second)
    return covariance / math.sqrt(spread_a * spread_b)


def loop_distances(student, teacher, temperature):
    """Mean of 1 - correlation over the rows, and over the columns, of the probabilities."""
    rows_s = (student.double() / temperature).softmax(dim=1).tolist()
    rows_t = (teacher.double() / temperature).softmax(dim=1).tolist()
    columns_s, columns_t = list(zip(*rows_s, strict=True)), list(zip(*rows_t, strict=True))
    return tuple(
        sum(1 - loop_correlation(a, b) for a, b in zip(first, second, strict=True)) / len(first)
        for first, second in ((rows_s, rows_t), (columns_s, columns_t))
    )


@pytest.mark.parametrize('num_classes', [2, 10, 100])
@pytest.mark.parametrize('temperature', [1.0, 4.0])
@pytest.mark.parametrize(('beta', 'gamma'), [(2.0, 2.0), (1.0, 0.0), (0.0, 1.0)])
def test_value_is_that_of_the_written_formula(num_classes, temperature, beta, gamma):
    student, teacher = 4 * torch.randn(2, 7, num_classes)
    inter, intra = loop_distances(student, teacher, temperature)
    value = dist_loss(student, teacher, temperature, beta, gamma).item()
    expected = temperature**2 * (beta * inter + gamma * intra)
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize('dim', [0, 1])
def test_correlation_lies_between_its_ends_and_ignores_shift_and_scale(dim):
    first, second = torch.rand(2, 6, 8)
    correlation = pearson_correlation(first, second, dim)
    assert correlation.abs().max() <= 1
    torch.testing.assert_close(pearson_correlation(3 * first + 1, second, dim), correlation)
    same = pearson_correlation(first, 1e-9 * first, dim)
    torch.testing.assert_close(same, torch.ones_like(same))
    opposite = pearson_correlation(first, 1 - first, dim)
    torch.testing.assert_close(opposite, -torch.ones_like(opposite))


def test_gradient_agrees_with_autograd_through_a_plain_transcription():
    student, teacher = 2 * torch.randn(2, 6, 5)
    student.requires_grad_()

    def centred(values, dim):
        return values - values.mean(dim, keepdim=True)

    s, t = (student.double() / 4).softmax(dim=1), (teacher.double() / 4).softmax(dim=1)
    written = sum(
        (1 - torch.cosine_similarity(centred(s, dim), centred(t, dim), dim=dim)).mean()
        for dim in (0, 1)
    )
    (expected,) = torch.autograd.grad(2 * 16 * written, student)
    (gradient,) = torch.autograd.grad(dist_loss(student, teacher, 4.0, 2.0, 2.0), student)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4)


def test_a_student_that_says_the_same_has_no_loss():
    teacher = 5 * torch.randn(6, 10)
    assert dist_loss(teacher, teacher, 4.0, 2.0, 2.0).item() == pytest.approx(0.0, abs=1e-5)
    worse = dist_loss(torch.randn(6, 10), teacher, 4.0, 2.0, 2.0)
    assert worse > 1


def test_a_single_sample_has_a_relation_between_its_classes_alone():
    student, teacher = torch.randn(2, 1, 10)
    student.requires_grad_()
    probabilities = (
        (logits[0].double() / 4).softmax(dim=0).tolist() for logits in (student, teacher)
    )
    correlation = loop_correlation(*probabilities)
    value = dist_loss(student, teacher, 4.0, 2.0, 3.0)
    assert value.item() == pytest.approx(16 * (2 * (1 - correlation) + 3), rel=1e-4)
    (gradient,) = torch.autograd.grad(value, student)
    assert gradient.abs().sum() > 0
    (gradient,) = torch.autograd.grad(dist_loss(student, teacher, 4.0, 0.0, 3.0), student)
    assert (gradient == 0).all()


@pytest.mark.parametrize('student', [0.0, 1e-12, 1e4, 6e4])
@pytest.mark.parametrize('teacher', [0.0, 1e-12, 1e4, 6e4])
def test_equal_and_saturated_probabilities_give_finite_loss_and_gradient(student, teacher):
    student, teacher = student * torch.randn(8, 10), teacher * torch.randn(8, 10)
    student.requires_grad_()
    loss = dist_loss(student, teacher, 1.0, 2.0, 2.0)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize('category', [0, 3])
def test_a_class_that_nobody_is_said_to_be_has_distance_1_and_no_gradient(category):
    student, teacher = torch.randn(2, 6, 4)
    student[:, category] = -1e4
    student.requires_grad_()
    loss = dist_loss(student, teacher, 1.0, 0.0, 4.0)
    loss.backward()
    others = [k for k in range(4) if k != category]
    p_s, p_t = student.detach().softmax(dim=1), teacher.softmax(dim=1)
    correlation = pearson_correlation(p_s[:, others], p_t[:, others], dim=0)
    torch.testing.assert_close(loss, 1 + (1 - correlation).sum())
    assert (student.grad[:, category] == 0).all()
    assert student.grad.isfinite().all()


def test_tiny_probabilities_keep_their_relations():
    first = torch.tensor([[1e-18, 2e-18, 4e-18]])
    correlation = pearson_correlation(first, torch.tensor([[0.1, 0.2, 0.4]]), dim=1)
    torch.testing.assert_close(correlation, torch.tensor([1.0]))


def test_module_is_the_function_times_its_current_weight():
    student, teacher = torch.randn(2, 4, 10)
    labels = torch.zeros(4, dtype=torch.int64)
    module = DISTLoss(temperature=2.0, beta=1.0, gamma=3.0, loss_weight=2.5)
    expected = dist_loss(student, teacher, 2.0, 1.0, 3.0)
    torch.testing.assert_close(module(student, teacher, labels), 2.5 * expected)
    module.loss_weight = 0.5
    torch.testing.assert_close(module(student, teacher, labels), 0.5 * expected)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(temperature=0.0), 'temperature must be positive, got 0.0'),
        (dict(temperature=math.nan), 'temperature must be positive'),
        (dict(beta=-1.0), 'beta must not be negative, got -1.0'),
        (dict(gamma=math.nan), 'gamma must not be negative'),
        (dict(loss_weight=-1.0), 'loss_weight must not be negative'),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f'DISTLoss: {message}'):
        DISTLoss(**arguments)


def test_differences_of_rounding_are_no_relation():
    # the standard deviation that counts as rounding does not depend on the number of values
    for deviation, expected in ((3e-7, 0.0), (1e-5, 1.0)):
        values = torch.ones(1, 10000)
        values[:, ::2] -= 2 * deviation
        correlation = pearson_correlation(values, values, dim=1)
        torch.testing.assert_close(correlation, torch.tensor([expected]), atol=1e-3, rtol=0)


def test_defaults_are_the_published_ones_and_zero_weights_are_allowed():
    loss = DISTLoss()
    assert (loss.temperature, loss.beta, loss.gamma, loss.loss_weight) == (4.0, 2.0, 2.0, 1.0)
    loss = DISTLoss(temperature=0.5, beta=0.0, gamma=0.0, loss_weight=0.0)
    assert (loss.temperature, loss.beta, loss.gamma, loss.loss_weight) == (0.5, 0.0, 0.0, 0.0)
