from types import SimpleNamespace

import pytest
import torch

from mmbss.engine.errors import ConfigError
from mmbss.losses import FeatureLoss
from mmbss.losses.feature_loss import check_channels_first, to_smaller_size

LABELS = torch.zeros(2, dtype=torch.int64)


class Seen(FeatureLoss):
    """Remembers what it gets."""

    def compare(self, student_features, teacher_features, labels):
        self.seen = student_features, teacher_features, labels
        return student_features[0] @ teacher_features[0].mT


def test_one_path_is_a_list_of_one():
    assert Seen('a', 'b').layers == dict(student=['a'], teacher=['b'])
    assert Seen(['a', 'b'], ('c', 'd')).layers == dict(student=['a', 'b'], teacher=['c', 'd'])


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32])
def test_features_are_compared_in_float32_also_under_autocast(dtype):
    loss = Seen(['a'], ['b'], loss_weight=2.0)
    student, teacher = torch.randn(2, 1, 64).to(dtype)
    student.requires_grad_()
    teacher.requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        value = loss([student], [teacher], LABELS)
    exact = 2 * (student.double() * teacher.double()).sum()
    torch.testing.assert_close(value.double().squeeze(), exact, rtol=1e-5, atol=1e-5)
    assert all(feature[0].dtype is torch.float32 for feature in loss.seen[:2])
    value.sum().backward()
    assert student.grad.dtype is dtype
    assert teacher.grad is None


def test_the_loss_is_weighted():
    features = [torch.ones(1, 3)], [torch.ones(1, 3)], LABELS
    loss = Seen('a', 'b', loss_weight=0.5)
    assert loss(*features).item() == 1.5
    assert loss.seen[2] is LABELS
    assert Seen('a', 'b').loss_weight == 1
    loss.loss_weight = 4.0
    assert loss(*features).item() == 12.0


@pytest.mark.parametrize(
    ('student', 'teacher', 'message'),
    [
        ([], ['a'], r'student names layers by their paths, .* got \[\]'),
        (['a'], [1], r'teacher names layers by their paths, .* got \[1\]'),
        (['a', 'b'], ['a'], 'must name equally many layers, got 2 and 1'),
    ],
)
def test_wrong_paths_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=f'Seen: .*{message}'):
        Seen(student, teacher)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match='Seen: loss_weight must not be negative'):
        Seen('a', 'b', loss_weight=-1.0)


def test_maps_are_pooled_to_the_smaller_height_and_width():
    first, second = torch.randn(2, 3, 4, 6), torch.randn(2, 5, 8, 3)
    small, other = to_smaller_size(first, second)
    torch.testing.assert_close(small, first.unflatten(3, (3, 2)).mean(4))
    torch.testing.assert_close(other, second.unflatten(2, (4, 2)).mean(3))
    assert to_smaller_size(first, first)[0] is first


def test_channels_at_the_end_are_refused_where_that_can_be_known():
    images = torch.zeros(2, 3, 28, 28)
    for shape in ((2, 8, 7, 7), (2, 7, 7, 7), (2, 49, 8), (2, 8)):
        check_channels_first(torch.zeros(shape), images, 'a')
    swin = torch.zeros(2, 7, 7, 96)
    with pytest.raises(
        ConfigError, match=r'^a of the teacher is \(N, 7, 7, 96\), which looks like'
    ):
        check_channels_first(swin, images, 'a of the teacher')
    # 16 channels of 16 x 64
    check_channels_first(torch.zeros(2, 16, 16, 64), torch.zeros(2, 1, 32, 128), 'a')


def test_a_batch_whose_teacher_has_channels_at_the_end_is_refused():
    maps = torch.ones(2, 8, 7, 7, requires_grad=True)
    batch = SimpleNamespace(
        inputs=torch.zeros(2, 3, 28, 28),
        student_features=dict(a=maps),
        teacher_features=dict(b=torch.ones(2, 7, 7, 96)),
        labels=LABELS,
    )
    with pytest.raises(ConfigError, match=r'^b of the teacher is'):
        Seen('a', 'b').compute(batch)
