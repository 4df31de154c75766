import math

import pytest
import torch

from mmbss.losses import KDLoss, kd_loss, standardise_logits


def loop_z_scores(logits):
    """(z - mean) / std over the classes, the standard deviation of the population, as written."""
    rows = []
    for row in logits.tolist():
        mean = sum(row) / len(row)
        std = math.sqrt(sum((z - mean) ** 2 for z in row) / len(row))
        rows.append([(z - mean) / std for z in row])
    return torch.tensor(rows)


@pytest.mark.parametrize('num_classes', [2, 10, 1000])
@pytest.mark.parametrize('scale', [0.1, 1.0, 100.0])
def test_value_is_the_written_z_score(num_classes, scale):
    logits = scale * torch.randn(6, num_classes) + 5
    torch.testing.assert_close(
        standardise_logits(logits), loop_z_scores(logits.double()), rtol=1e-3, atol=1e-4
    )


def test_a_shift_and_a_scale_of_the_logits_change_nothing():
    logits = torch.randn(6, 10)
    torch.testing.assert_close(
        standardise_logits(7 * logits - 3), standardise_logits(logits), rtol=1e-4, atol=1e-5
    )


def test_equal_logits_have_score_0_and_a_finite_gradient():
    logits = torch.full((3, 10), 2.5, requires_grad=True)
    scores = standardise_logits(logits)
    (scores * torch.randn(3, 10)).sum().backward()
    assert (scores == 0).all()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_scores_are_float32_whatever_the_logits_are(dtype):
    logits = torch.randn(4, 10).to(dtype)
    scores = standardise_logits(logits)
    assert scores.dtype is torch.float32
    torch.testing.assert_close(scores, standardise_logits(logits.float()))
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(standardise_logits(logits), scores, rtol=0, atol=0)


@pytest.mark.parametrize('count', [0, 1, 2])
def test_small_batches(count):
    assert standardise_logits(torch.randn(count, 10)).shape == (count, 10)


def test_kd_compares_the_scores_of_both_networks():
    student, teacher = torch.randn(4, 10), 9 * torch.randn(4, 10)
    labels = torch.zeros(4, dtype=torch.int64)
    loss = KDLoss(temperature=2.0, loss_weight=9.0, scale_by_t2=True, standardise_logits=True)
    expected = 9 * kd_loss(loop_z_scores(student), loop_z_scores(teacher), 2.0, scale_by_t2=True)
    torch.testing.assert_close(loss(student, teacher, labels), expected)
    assert KDLoss()(student, teacher, labels) == kd_loss(student, teacher, 3.0)


def test_a_student_with_the_teachers_relations_has_no_gradient():
    teacher = torch.randn(4, 10)
    student = (0.2 * teacher + 1).requires_grad_()
    labels = torch.zeros(4, dtype=torch.int64)
    KDLoss(standardise_logits=True)(student, teacher, labels).backward()
    torch.testing.assert_close(student.grad, torch.zeros(4, 10), rtol=0, atol=1e-6)
    student.grad = None
    KDLoss()(student, teacher, labels).backward()
    assert student.grad.abs().max() > 1e-3
