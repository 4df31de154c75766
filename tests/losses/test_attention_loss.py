import math

import pytest
import torch

from mmbss.losses import AttentionLoss, attention_loss, attention_map

LABELS = torch.zeros(3, dtype=torch.int64)


def loop_attention_loss(student, teacher):
    """Mean of (Q_s / ||Q_s|| - Q_t / ||Q_t||)^2 with Q the sum of squares over the channels."""
    total, count = 0.0, 0
    for maps_s, maps_t in zip(student.double(), teacher.double(), strict=True):
        q_s, q_t = (
            [
                sum(float(maps[c, h, w]) ** 2 for c in range(maps.shape[0]))
                for h in range(maps.shape[1])
                for w in range(maps.shape[2])
            ]
            for maps in (maps_s, maps_t)
        )
        norm_s, norm_t = (math.sqrt(sum(v**2 for v in q)) for q in (q_s, q_t))
        total += sum((a / norm_s - b / norm_t) ** 2 for a, b in zip(q_s, q_t, strict=True))
        count += len(q_s)
    return total / count


def compare(student, teacher, **settings):
    loss = AttentionLoss(['s'], ['t'], loss_weight=1.0, **settings)
    return loss([student], [teacher], LABELS)


def test_value_is_that_of_the_written_formula():
    student, teacher = torch.randn(3, 2, 4, 5), torch.randn(3, 7, 4, 5)
    expected = loop_attention_loss(student, teacher)
    assert compare(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_layers_are_summed_and_weighted_as_published():
    features = [torch.randn(3, 2, 4, 4), torch.randn(3, 2, 2, 2)]
    others = [torch.randn(3, 5, 4, 4), torch.randn(3, 3, 2, 2)]
    loss = AttentionLoss(['a', 'b'], ['c', 'd'])
    assert loss.loss_weight == 1000
    expected = sum(compare(s, t) for s, t in zip(features, others, strict=True))
    torch.testing.assert_close(loss(features, others, LABELS), 1000 * expected)


def test_the_scale_of_the_features_does_not_matter():
    student, teacher = torch.randn(2, 3, 4, 6, 6)
    torch.testing.assert_close(compare(7 * student, teacher), compare(student, 0.1 * teacher))
    assert compare(student, student).item() == 0


def test_maps_of_other_sizes_are_pooled():
    student, teacher = torch.randn(3, 2, 8, 8), torch.randn(3, 2, 4, 4)
    pooled = attention_map(student).unflatten(2, (4, 2)).mean(3).unflatten(1, (4, 2)).mean(2)
    expected = attention_loss(pooled, attention_map(teacher))
    torch.testing.assert_close(compare(student, teacher), expected)


def test_tokens_are_laid_out_by_rows():
    tokens, maps = torch.randn(3, 16, 5), torch.randn(3, 7, 4, 4)
    as_maps = tokens.mT.reshape(3, 5, 4, 4)
    torch.testing.assert_close(compare(tokens, maps), compare(as_maps, maps))
    with_class_token = torch.cat([100 * torch.randn(3, 1, 5), tokens], dim=1)
    torch.testing.assert_close(
        compare(with_class_token, maps, num_extra_tokens=1), compare(tokens, maps)
    )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_and_dead_maps_give_finite_gradients(dtype):
    student = torch.randn(3, 2, 4, 4).to(dtype)
    student[0] = 0
    student.requires_grad_()
    teacher = torch.randn(3, 2, 4, 4).to(dtype)
    teacher[1] = 0
    with torch.autocast('cpu', torch.bfloat16):
        loss = compare(student, teacher)
    assert loss.dtype is torch.float32
    loss.backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0


def test_no_gradient_reaches_the_teacher():
    student, teacher = torch.randn(2, 3, 2, 4, 4).unbind()
    teacher.requires_grad_()
    attention_loss(attention_map(student.requires_grad_()), attention_map(teacher)).backward()
    assert teacher.grad is None


def test_empty_batch_is_zero_and_can_be_differentiated():
    student = torch.zeros(0, 2, 8, 8, requires_grad=True)
    loss = compare(student, torch.zeros(0, 3, 4, 4))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize(
    ('shape', 'settings', 'message'),
    [
        (
            (3, 17, 4),
            dict(),
            r's of the student is \(N, 17, 4\), .*: 17 tokens are no square; set '
            'num_extra_tokens to the number of tokens before those of the image, such as a class '
            'token',
        ),
        ((3, 16, 4), dict(num_extra_tokens=1), '15 tokens are no square'),
        ((3, 1, 4), dict(num_extra_tokens=1), '0 tokens are no square'),
        ((3, 4), dict(), 'attention is defined on maps and tokens'),
    ],
)
def test_features_without_attention_are_refused(shape, settings, message):
    with pytest.raises(ValueError, match=f'AttentionLoss: .*{message}'):
        compare(torch.zeros(shape), torch.zeros(3, 2, 4, 4), **settings)


def test_the_mean_of_one_element_is_that_element():
    assert attention_loss(torch.zeros(1, 1, 1), torch.ones(1, 1, 1)).item() == 1


def test_every_path_needs_its_features():
    maps = torch.zeros(3, 4, 4, 4)
    with pytest.raises(ValueError, match='zip'):
        AttentionLoss(['a'], ['b'])([maps], [maps, maps], LABELS)


def test_student_and_teacher_may_have_other_tokens_before_those_of_the_image():
    tokens, others = torch.randn(2, 18, 4), torch.randn(2, 17, 4)
    both = compare(tokens, others, num_extra_tokens=(2, 1))
    assert both == compare(tokens[:, 2:], others[:, 1:])


@pytest.mark.parametrize('number', [-1, (0, -1), (1, 2, 3), ()])
def test_numbers_of_tokens_out_of_range_are_refused(number):
    with pytest.raises(ValueError, match=r'num_extra_tokens=.* must be 0 or more'):
        AttentionLoss(['a'], ['b'], num_extra_tokens=number)
