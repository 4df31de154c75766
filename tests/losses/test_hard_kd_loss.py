import pytest
import torch

from mmbss.losses import HardKDLoss, hard_kd_loss


def transcription(student, teacher):
    """Row by row: minus the log-probability of the class that the teacher chooses."""
    rows = [
        -(f_s[f_t.tolist().index(max(f_t.tolist()))] - f_s.exp().sum().log())
        for f_s, f_t in zip(student.double(), teacher.double(), strict=True)
    ]
    return sum(rows) / len(rows)


@pytest.mark.parametrize('count', [1, 5])
def test_is_the_formula(count):
    student, teacher = 2 * torch.randn(2, count, 7)
    loss = hard_kd_loss(student.requires_grad_(), teacher)
    torch.testing.assert_close(loss.double(), transcription(student, teacher))
    (gradient,) = torch.autograd.grad(loss, student)
    target = torch.eye(7)[teacher.argmax(1)]
    torch.testing.assert_close(gradient, (student.softmax(1) - target) / count)


def test_of_equal_logits_the_first_counts():
    student = torch.tensor([[1.0, 2.0, 3.0]])
    tied = hard_kd_loss(student, torch.tensor([[0.0, 5.0, 5.0]]))
    assert tied == hard_kd_loss(student, torch.tensor([[0.0, 5.0, 0.0]]))


def test_edges_have_defined_results():
    assert hard_kd_loss(torch.zeros(0, 3), torch.zeros(0, 3)) == 0
    student = torch.randn(4, 3).half()
    teacher = torch.randn(4, 3)
    loss = hard_kd_loss(student, teacher)
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, hard_kd_loss(student.float(), teacher))


def test_weight():
    student, teacher = torch.randn(2, 6, 4)
    loss = HardKDLoss(loss_weight=0.5)
    torch.testing.assert_close(loss(student, teacher, None), 0.5 * hard_kd_loss(student, teacher))
