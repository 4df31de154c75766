import pytest
import torch

from mmbss.losses import DISTLoss, DKDLoss, KDLoss

LOSSES = {
    'KD': KDLoss(temperature=1.0),
    'KD, standardised': KDLoss(standardise_logits=True),
    'DKD': DKDLoss(temperature=1.0),
    'DKD, standardised': DKDLoss(temperature=1.0, standardise_logits=True),
    'DIST': DISTLoss(temperature=1.0),
}
each_loss = pytest.mark.parametrize('loss', LOSSES.values(), ids=LOSSES)


def case(count=8, num_classes=10, dtype=torch.float32):
    student, teacher = (3 * torch.randn(2, count, num_classes)).to(dtype)
    return student.requires_grad_(), teacher, torch.randint(num_classes, (count,))


@each_loss
def test_no_gradient_reaches_the_teacher(loss):
    student, teacher, labels = case()
    loss(student, teacher.requires_grad_(), labels).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@each_loss
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_logits_are_computed_in_float32(loss, dtype):
    student, teacher, labels = case(dtype=dtype)
    value, expected = loss(student, teacher, labels), loss(student.float(), teacher.float(), labels)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, expected, rtol=0, atol=0)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(loss(student, teacher, labels), expected, rtol=0, atol=0)
    value.backward()
    assert student.grad.dtype is dtype
    assert student.grad.isfinite().all()


@each_loss
def test_saturated_logits_give_finite_loss_and_gradient(loss):
    teacher = torch.tensor([[1e4, -1e4, 0.0], [6e4, 0.0, -6e4], [-6e4, 6e4, 0.0]])
    student = torch.tensor([[-1e4, 1e4, 0.0], [6e4, 0.0, -6e4], [0.0, 0.0, 0.0]])
    value = loss(student.requires_grad_(), teacher, torch.tensor([0, 0, 0]))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@each_loss
@pytest.mark.parametrize('count', [0, 1, 2])
@pytest.mark.parametrize('num_classes', [2, 10])
def test_small_batches_have_a_finite_loss_and_gradient(loss, count, num_classes):
    student, teacher, labels = case(count, num_classes)
    value = loss(student, teacher, labels)
    value.backward()
    assert value.isfinite()
    assert count or value == 0
    assert student.grad.isfinite().all()


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
