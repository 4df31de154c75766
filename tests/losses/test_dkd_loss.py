import math

import pytest
import torch
import torch.nn.functional as F

from mmbss.losses import DKDLoss, dkd_loss, standardise_logits
from mmbss.losses.dkd_loss import binary_divergence, split_off_target


def softmax(row, temperature):
    powers = [math.exp(z / temperature) for z in row]
    return [power / sum(powers) for power in powers]


def loop_divergences(student, teacher, labels, temperature):
    """TCKD, NCKD and the teacher's probability of the target for each sample, as written."""
    result = []
    for f_s, f_t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        p_s, p_t = softmax(f_s, temperature), softmax(f_t, temperature)
        binary = [(p_t[y], p_s[y]), (1 - p_t[y], 1 - p_s[y])]
        others = [(p_t[k] / (1 - p_t[y]), p_s[k] / (1 - p_s[y])) for k in range(len(f_s)) if k != y]
        result.append([sum(p * math.log(p / q) for p, q in pairs) for pairs in (binary, others)])
        result[-1].append(p_t[y])
    return torch.tensor(result).T


def random_case(num_classes=10, count=5):
    student, teacher = 3 * torch.randn(2, count, num_classes)
    return student, teacher, torch.randint(num_classes, (count,))


@pytest.mark.parametrize('num_classes', [2, 10, 1000])
@pytest.mark.parametrize('temperature', [1.0, 4.0])
@pytest.mark.parametrize(('alpha', 'beta'), [(1.0, 8.0), (0.0, 1.0), (1.0, 0.0)])
def test_value_is_that_of_the_written_formula(num_classes, temperature, alpha, beta):
    student, teacher, labels = random_case(num_classes)
    tckd, nckd, _ = loop_divergences(student.double(), teacher.double(), labels, temperature)
    expected = temperature**2 * (alpha * tckd + beta * nckd).mean()
    torch.testing.assert_close(
        dkd_loss(student, teacher, labels, temperature, alpha, beta), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_with_beta_1_minus_the_target_probability_it_is_plain_distillation(temperature):
    student, teacher, labels = random_case()
    student.requires_grad_()
    probability = (teacher / temperature).softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    decoupled = torch.stack(
        [
            dkd_loss(student[i, None], teacher[i, None], labels[i, None], temperature, 1.0, beta)
            for i, beta in enumerate((1 - probability).tolist())
        ]
    ).mean()
    divergence = F.kl_div(
        (student / temperature).log_softmax(dim=1),
        (teacher / temperature).softmax(dim=1),
        reduction='batchmean',
    )
    torch.testing.assert_close(decoupled, temperature**2 * divergence, rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(decoupled, student)
    (expected,) = torch.autograd.grad(temperature**2 * divergence, student)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


def test_the_parts_are_probabilities():
    logits, _, labels = random_case()
    log_odds, others = split_off_target(logits, labels)
    probabilities = logits.softmax(dim=1)
    target = probabilities.gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(log_odds.sigmoid(), target)
    torch.testing.assert_close(others.exp().sum(dim=1), torch.ones(5))
    rest = torch.stack(
        [torch.cat([p[:y], p[y + 1 :]]) for p, y in zip(probabilities, labels, strict=True)]
    )
    torch.testing.assert_close(others.exp() * (1 - target)[:, None], rest)


def test_gradient_agrees_with_finite_differences():
    student, teacher, labels = random_case(num_classes=4, count=3)
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(dkd_loss(student, teacher, labels, 4.0, 1.0, 8.0), student)
    step = 1e-2
    for i in range(3):
        for k in range(4):
            change = torch.zeros(3, 4)
            change[i, k] = step
            higher, lower = (
                dkd_loss(student + sign * change, teacher, labels, 4.0, 1.0, 8.0).item()
                for sign in (1, -1)
            )
            slope = (higher - lower) / (2 * step)
            assert gradient[i, k].item() == pytest.approx(slope, rel=1e-2, abs=2e-3)


def test_alpha_moves_the_target_alone_and_beta_the_others():
    student, teacher, labels = random_case()
    student.requires_grad_()
    target = F.one_hot(labels, 10).bool()
    (gradient,) = torch.autograd.grad(dkd_loss(student, teacher, labels, 4.0, 0.0, 1.0), student)
    assert gradient[target].abs().max() < 1e-6
    assert gradient[~target].abs().max() > 1e-3
    (gradient,) = torch.autograd.grad(dkd_loss(student, teacher, labels, 4.0, 1.0, 0.0), student)
    assert gradient[target].abs().max() > 1e-3


def test_a_saturated_teacher_still_tells_the_others_apart():
    student = torch.tensor([[100.0, 0.0, 0.0]])
    teacher = torch.tensor([[100.0, 2.0, 0.0]])
    p = torch.tensor([2.0, 0.0]).softmax(dim=0)
    expected = (p * (p.log() - math.log(0.5))).sum()
    value = dkd_loss(student, teacher, torch.tensor([0]), 1.0, 0.0, 1.0)
    torch.testing.assert_close(value, expected)


def test_the_divergence_of_a_decision_with_itself_is_0():
    log_odds = torch.tensor([-1e4, -3.0, 0.0, 5.0, 1e4])
    assert (binary_divergence(log_odds, log_odds) == 0).all()
    assert (binary_divergence(log_odds, log_odds + 1) >= 0).all()


def test_module_is_the_function_times_its_current_weight():
    student, teacher, labels = random_case()
    module = DKDLoss(temperature=2.0, alpha=0.5, beta=3.0, loss_weight=2.5)
    expected = dkd_loss(student, teacher, labels, 2.0, 0.5, 3.0)
    torch.testing.assert_close(module(student, teacher, labels), 2.5 * expected)
    module.loss_weight = 0.5
    torch.testing.assert_close(module(student, teacher, labels), 0.5 * expected)
    module.standardise_logits = True
    scores = standardise_logits(student), standardise_logits(teacher)
    expected = dkd_loss(*scores, labels, 2.0, 0.5, 3.0)
    torch.testing.assert_close(module(student, teacher, labels), 0.5 * expected)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(temperature=0.0), 'temperature must be positive, got 0.0'),
        (dict(temperature=math.nan), 'temperature must be positive'),
        (dict(alpha=-1.0), 'alpha must not be negative, got -1.0'),
        (dict(beta=math.nan), 'beta must not be negative'),
        (dict(loss_weight=-1.0), 'loss_weight must not be negative'),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f'DKDLoss: {message}'):
        DKDLoss(**arguments)


def test_defaults_are_the_published_ones_and_zero_weights_are_allowed():
    loss = DKDLoss()
    assert (loss.temperature, loss.alpha, loss.beta, loss.loss_weight) == (4.0, 1.0, 8.0, 1.0)
    assert not loss.standardise_logits
    loss = DKDLoss(temperature=0.5, alpha=0.0, beta=0.0, standardise_logits=True)
    assert (loss.temperature, loss.alpha, loss.beta) == (0.5, 0.0, 0.0)
    assert loss.standardise_logits
