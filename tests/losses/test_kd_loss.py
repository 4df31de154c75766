import math

import pytest
import torch
import torch.nn.functional as F

from mmbss.losses import DistillationLoss, KDLoss, kd_loss


def loop_kd_loss(student, teacher, temperature):
    """J(softmax(f_t / T), softmax(f_s / T)), the mean over the batch, as the formula is written."""
    total = 0.0
    for f_s, f_t in zip(student.tolist(), teacher.tolist(), strict=True):
        partition_t = sum(math.exp(z / temperature) for z in f_t)
        partition_s = sum(math.exp(z / temperature) for z in f_s)
        for z_s, z_t in zip(f_s, f_t, strict=True):
            q_t = math.exp(z_t / temperature) / partition_t
            total -= q_t * math.log(math.exp(z_s / temperature) / partition_s)
    return total / len(student)


@pytest.mark.parametrize('num_classes', [2, 10, 1000])
@pytest.mark.parametrize('temperature', [0.5, 1.0, 3.0, 20.0])
def test_value_is_that_of_the_written_formula(num_classes, temperature):
    student, teacher = 4 * torch.randn(2, 5, num_classes)
    expected = loop_kd_loss(student.double(), teacher.double(), temperature)
    torch.testing.assert_close(
        kd_loss(student, teacher, temperature).item(), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize('temperature', [1.0, 3.0])
def test_t_squared_multiplies_the_loss(temperature):
    student, teacher = torch.randn(2, 4, 10)
    plain = kd_loss(student, teacher, temperature)
    scaled = kd_loss(student, teacher, temperature, scale_by_t2=True)
    torch.testing.assert_close(scaled, plain * temperature**2)


@pytest.mark.parametrize('temperature', [1.0, 3.0, 20.0])
def test_gradient_is_that_of_the_kl_divergence(temperature):
    student = torch.randn(6, 10, dtype=torch.float64).float().requires_grad_()
    teacher = torch.randn(6, 10)
    (gradient,) = torch.autograd.grad(kd_loss(student, teacher, temperature), student)
    divergence = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction='batchmean',
        log_target=True,
    )
    (expected,) = torch.autograd.grad(divergence, student)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)


def test_with_t_squared_the_size_of_the_gradient_hardly_depends_on_a_high_temperature():
    student, teacher = torch.randn(2, 16, 10)
    sizes = []
    for temperature in (20.0, 40.0):
        leaf = student.clone().requires_grad_()
        kd_loss(leaf, teacher, temperature, scale_by_t2=True).backward()
        sizes.append(leaf.grad.norm().item())
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_value_exceeds_the_divergence_by_the_teachers_entropy():
    student, teacher = torch.randn(2, 3, 10)
    q = (teacher / 3).softmax(dim=1)
    entropy = -(q * q.log()).sum(dim=1).mean()
    divergence = F.kl_div((student / 3).log_softmax(dim=1), q, reduction='batchmean')
    torch.testing.assert_close(kd_loss(student, teacher, 3.0), divergence + entropy)


def test_module_is_the_function_times_its_current_weight():
    student, teacher = torch.randn(2, 4, 10)
    labels = torch.zeros(4, dtype=torch.int64)
    module = KDLoss(temperature=4.0, loss_weight=2.5, scale_by_t2=True)
    expected = kd_loss(student, teacher, 4.0, scale_by_t2=True)
    torch.testing.assert_close(module(student, teacher, labels), 2.5 * expected)
    module.loss_weight = 0.5
    torch.testing.assert_close(module(student, teacher, labels), 0.5 * expected)


def test_module_adds_nothing_to_a_checkpoint():
    assert not KDLoss().state_dict()


@pytest.mark.parametrize('temperature', [0.0, -1.0, math.nan])
def test_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(ValueError, match='KDLoss: temperature must be positive'):
        KDLoss(temperature=temperature)


@pytest.mark.parametrize('weight', [-1.0, math.nan])
def test_weight_out_of_range_is_refused_under_the_name_of_the_loss(weight):
    class OwnLoss(DistillationLoss):
        def forward(self, student_logits, teacher_logits, labels):
            return student_logits.sum()

    with pytest.raises(ValueError, match='OwnLoss: loss_weight must not be negative'):
        OwnLoss(loss_weight=weight)


def test_defaults_are_those_of_the_published_recipe():
    loss = KDLoss()
    assert (loss.temperature, loss.loss_weight) == (3.0, 1.0)
    assert not loss.scale_by_t2
    assert not loss.standardise_logits
    assert KDLoss(temperature=0.5, loss_weight=0.0).temperature == 0.5
