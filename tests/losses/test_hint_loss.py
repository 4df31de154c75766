import pytest
import torch
from torch import nn

from mmbss.losses import HintLoss, hint_loss

LABELS = torch.zeros(3, dtype=torch.int64)


def loop_hint_loss(student, teacher):
    """Mean of (s - t)^2 over all elements, as the formula is written."""
    pairs = list(zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True))
    return sum((s - t) ** 2 for s, t in pairs) / len(pairs)


@pytest.mark.parametrize('shape', [(3, 5), (3, 7, 5), (3, 5, 4, 4)])
def test_value_is_that_of_the_written_formula(shape):
    student, teacher = torch.randn(2, *shape)
    expected = loop_hint_loss(student.double(), teacher.double())
    assert hint_loss(student, teacher).item() == pytest.approx(expected, rel=1e-5)
    same = HintLoss('a', 'b', loss_weight=3.0)([student], [teacher], LABELS)
    assert same.item() == pytest.approx(3 * expected, rel=1e-5)


def test_the_regressor_is_a_convolution_of_size_1():
    loss = HintLoss('a', 'b', student_channels=4, teacher_channels=6)
    student, teacher = torch.randn(3, 4, 5, 5), torch.randn(3, 6, 5, 5)
    convolution = nn.Conv2d(4, 6, 1)
    convolution.weight.data = loss.regressor.weight.data[:, :, None, None]
    convolution.bias.data = loss.regressor.bias.data
    expected = hint_loss(convolution(student), teacher)
    torch.testing.assert_close(loss([student], [teacher], LABELS), expected)


def test_tokens_and_vectors_are_regressed_too():
    loss = HintLoss('a', 'b', student_channels=4, teacher_channels=6)
    tokens, teacher = torch.randn(3, 7, 4), torch.randn(3, 7, 6)
    expected = hint_loss(tokens @ loss.regressor.weight.T + loss.regressor.bias, teacher)
    torch.testing.assert_close(loss([tokens], [teacher], LABELS), expected)
    assert loss([tokens[:, 0]], [teacher[:, 0]], LABELS).ndim == 0


def test_larger_maps_are_pooled():
    loss = HintLoss('a', 'b')
    student, teacher = torch.randn(3, 2, 8, 8), torch.randn(3, 2, 4, 4)
    pooled = student.unflatten(3, (4, 2)).mean(4).unflatten(2, (4, 2)).mean(3)
    torch.testing.assert_close(loss([student], [teacher], LABELS), hint_loss(pooled, teacher))
    torch.testing.assert_close(
        loss([teacher], [student], LABELS), hint_loss(teacher, pooled), msg='either way'
    )


def test_gradients_reach_student_and_regressor_alone():
    loss = HintLoss('a', 'b', student_channels=4, teacher_channels=6)
    student, teacher = torch.randn(3, 4, 5, 5), torch.randn(3, 6, 5, 5)
    student.requires_grad_()
    teacher.requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        value = loss([student], [teacher], LABELS)
    assert value.dtype is torch.float32
    value.backward()
    assert student.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.parameters())
    assert teacher.grad is None


def test_empty_batch_is_zero_and_can_be_differentiated():
    student = torch.zeros(0, 2, 4, 4, requires_grad=True)
    loss = HintLoss('a', 'b', 2, 2)([student], [torch.zeros(0, 2, 4, 4)], LABELS[:0])
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize(
    ('student', 'teacher', 'message'),
    [
        (
            (3, 4, 8, 8),
            (3, 6, 8, 8),
            r'HintLoss: backbone.s of the student is \(N, 4, 8, 8\), backbone.t of the teacher '
            r'\(N, 6, 8, 8\): set student_channels=4 and teacher_channels=6 for a regressor',
        ),
        ((3, 4, 8, 8), (3, 64, 4), 'name two maps, two layers of tokens or two of vectors'),
        ((3, 4, 2, 8, 8), (3, 4, 2, 8, 8), 'name two maps'),
        ((3, 16, 4), (3, 17, 4), 'the numbers of tokens differ'),
    ],
)
def test_shapes_that_do_not_fit_are_named(student, teacher, message):
    loss = HintLoss('backbone.s', 'backbone.t')
    with pytest.raises(ValueError, match=message):
        loss([torch.zeros(student)], [torch.zeros(teacher)], LABELS)


def test_other_channels_than_the_regressors_are_named():
    loss = HintLoss('s', 't', student_channels=8, teacher_channels=8)
    with pytest.raises(ValueError, match=r'set student_channels=4 and teacher_channels=8$'):
        loss([torch.zeros(3, 4, 2, 2)], [torch.zeros(3, 8, 2, 2)], LABELS)


@pytest.mark.parametrize('channels', [(4, None), (None, 4)])
def test_one_number_of_channels_is_refused(channels):
    with pytest.raises(ValueError, match='give both student_channels and teacher_channels'):
        HintLoss('a', 'b', *channels)


def test_channels_must_be_positive():
    with pytest.raises(ValueError, match=r'channels must be positive, got \(0, 4\)'):
        HintLoss('a', 'b', 0, 4)


def test_the_mean_of_one_element_is_that_element():
    assert hint_loss(torch.full((1, 1), 3.0), torch.ones(1, 1)).item() == 4


def test_one_channel_is_enough_for_a_regressor():
    assert HintLoss('a', 'b', 1, 1).regressor.weight.shape == (1, 1)
