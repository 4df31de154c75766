import pytest
import torch

from mmbss.losses import DistillationLoss, DISTLoss, DKDLoss, KDLoss

LOSSES = dict(
    kd=lambda: KDLoss(loss_weight=2.0, scale_by_t2=True),
    standardised=lambda: KDLoss(standardise_logits=True),
    dkd=lambda: DKDLoss(loss_weight=0.5),
    dist=lambda: DISTLoss(),
)


def random_case(count=7):
    student, teacher = 3 * torch.randn(2, count, 10)
    return student.requires_grad_(), teacher, torch.randint(10, (count,))


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('count', [1, 2, 7])
def test_loss_per_sample_is_that_of_batches_of_one(name, count):
    loss = LOSSES[name]()
    student, teacher, labels = random_case(count)
    values = loss.per_sample(student, teacher, labels)
    rows = [slice(n, n + 1) for n in range(count)]
    expected = torch.stack([loss(student[row], teacher[row], labels[row]) for row in rows])
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5)
    weights = torch.rand(count)
    (gradient,) = torch.autograd.grad((weights * values).sum(), student)
    (written,) = torch.autograd.grad((weights * expected).sum(), student)
    torch.testing.assert_close(gradient, written, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('name', ['kd', 'standardised', 'dkd'])
def test_a_loss_that_is_a_mean_is_the_mean_of_its_samples(name):
    loss = LOSSES[name]()
    case = random_case()
    torch.testing.assert_close(loss.per_sample(*case).mean(), loss(*case), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', LOSSES)
def test_saturated_logits_give_finite_losses_and_gradients_per_sample(name):
    teacher = torch.tensor([[1e4, -1e4, 0.0], [6e4, 0.0, -6e4], [0.0, 0.0, 0.0]])
    student = -teacher.clone().requires_grad_()
    student.retain_grad()
    values = LOSSES[name]().per_sample(student, teacher, torch.tensor([0, 0, 0]))
    values.sum().backward()
    assert values.isfinite().all()
    assert student.grad.isfinite().all()


def test_is_computed_in_float32_in_half_precision_and_under_autocast():
    student, teacher, labels = random_case()
    student, teacher = student.bfloat16(), teacher.bfloat16()
    expected = KDLoss().per_sample(student.float(), teacher.float(), labels)
    values = KDLoss().per_sample(student, teacher, labels)
    torch.testing.assert_close(values, expected, rtol=0, atol=0)
    with torch.autocast('cpu', torch.bfloat16):
        values = KDLoss().per_sample(student.float(), teacher.float(), labels)
    torch.testing.assert_close(values, expected, rtol=0, atol=0)


def test_a_loss_of_ones_own_needs_nothing_more():
    class LogitLoss(DistillationLoss):
        def forward(self, student_logits, teacher_logits, labels):
            return self.loss_weight * (student_logits - teacher_logits).square().mean()

    student, teacher, labels = random_case()
    expected = 3 * (student - teacher).square().mean(dim=1)
    torch.testing.assert_close(LogitLoss(3.0).per_sample(student, teacher, labels), expected)


def test_losses_on_logits_train_a_student_together(make_runner, digits_teacher, resnet_config):
    model = dict(
        resnet_config(),
        type='mmbss.Distiller',
        teacher=digits_teacher,
        losses=dict(
            loss_kd=dict(type='mmbss.KDLoss', standardise_logits=True),
            loss_dkd=dict(type='mmbss.DKDLoss'),
            loss_dist=dict(type='mmbss.DISTLoss'),
        ),
    )
    warm_up = dict(loss_dkd=dict(start=0.0, end=1.0, until=0.5))
    hooks = [dict(type='mmbss.BSSHook', schedules=warm_up)]
    runner = make_runner(model, custom_hooks=hooks, epochs=2)
    runner.train()
    scalars = runner.message_hub.log_scalars
    for name, idle in (('kd', 0), ('dkd', 6), ('dist', 0)):
        values = scalars[f'train/loss_{name}'].data[0].tolist()
        assert values[:idle] == [0.0] * idle, 'its weight is 0 in the first epoch'
        assert len(values) == 12
        assert all(0 < value < float('inf') for value in values[idle:])
