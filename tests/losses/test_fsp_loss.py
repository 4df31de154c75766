import pytest
import torch
import torch.nn.functional as F

from mmbss.losses import FSPLoss, fsp_matrix, hint_loss

LABELS = torch.zeros(3, dtype=torch.int64)


def loop_fsp_matrix(first, last):
    """G_ij = sum over the positions of F1_i F2_j / (h w), as equation 1 is written."""
    channels, height, width = first.shape
    matrix = torch.zeros(channels, len(last), dtype=torch.float64)
    for i in range(channels):
        for j in range(len(last)):
            for h in range(height):
                for w in range(width):
                    product = first[i, h, w].double() * last[j, h, w].double()
                    matrix[i, j] += product / (height * width)
    return matrix


def test_matrix_is_that_of_the_written_formula():
    first, last = torch.randn(3, 4, 3, 5), torch.randn(3, 6, 3, 5)
    expected = torch.stack([loop_fsp_matrix(*maps) for maps in zip(first, last, strict=True)])
    torch.testing.assert_close(fsp_matrix(first, last).double(), expected, rtol=1e-5, atol=1e-6)


def test_larger_maps_are_max_pooled():
    first, last = torch.randn(3, 4, 8, 8), torch.randn(3, 6, 4, 4)
    torch.testing.assert_close(
        fsp_matrix(first, last), fsp_matrix(F.max_pool2d(first, 2), last), rtol=0, atol=0
    )
    torch.testing.assert_close(fsp_matrix(last, first), fsp_matrix(first, last).mT)


def test_pairs_are_summed():
    shapes = [(3, 4, 8, 8), (3, 6, 4, 4), (3, 6, 4, 4), (3, 5, 2, 2)]
    student, teacher = ([torch.randn(shape) for shape in shapes] for _ in range(2))
    pairs = [('a', 'b'), ('b', 'c')]
    loss = FSPLoss(pairs, pairs, loss_weight=3.0)
    assert loss.layers['student'] == ['a', 'b', 'b', 'c']
    expected = sum(
        hint_loss(fsp_matrix(*student[i : i + 2]), fsp_matrix(*teacher[i : i + 2])) for i in (0, 2)
    )
    torch.testing.assert_close(loss(student, teacher, LABELS), 3 * expected)


def test_the_networks_may_have_maps_of_different_sizes():
    student = [torch.randn(3, 4, 8, 8), torch.randn(3, 6, 8, 8)]
    teacher = [torch.randn(3, 4, 4, 4), torch.randn(3, 6, 4, 4)]
    loss = FSPLoss([('a', 'b')], [('a', 'b')])
    assert loss(student, teacher, LABELS) > 0
    assert loss(student, student, LABELS) == 0


def test_is_computed_in_float32_under_autocast():
    student, teacher = ([torch.randn(3, 4, 4, 4).bfloat16() for _ in range(2)] for _ in range(2))
    loss = FSPLoss([('a', 'b')], [('a', 'b')])
    student[0].requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        value = loss(student, teacher, LABELS)
    exact = hint_loss(
        fsp_matrix(*(maps.detach().double() for maps in student)),
        fsp_matrix(*(maps.double() for maps in teacher)),
    )
    torch.testing.assert_close(value, exact, rtol=1e-5, atol=1e-6)
    value.backward()
    assert student[0].grad.isfinite().all()


def test_empty_batch_is_zero_and_can_be_differentiated():
    student = torch.zeros(0, 4, 4, 4, requires_grad=True)
    loss = FSPLoss([('a', 'b')], [('a', 'b')])([student] * 2, [torch.zeros(0, 4, 4, 4)] * 2, LABELS)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize('pairs', [['a', 'b'], [('a', 'b', 'c')], 'ab'])
def test_what_is_no_pair_is_refused(pairs):
    with pytest.raises(ValueError, match='FSPLoss: student and teacher name pairs of layers'):
        FSPLoss(pairs, pairs)


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        (
            (3, 5, 4, 4),
            r'b of the student is \(N, 4, 4, 4\), .* equally many channels; name other '
            r'layers, or use AttentionLoss or HintLoss',
        ),
        ((3, 16, 4), r'defined on maps \(N, C, H, W\)'),
    ],
)
def test_shapes_that_do_not_fit_are_named(shape, message):
    maps = torch.zeros(3, 4, 4, 4)
    loss = FSPLoss([('a', 'b')], [('c', 'd')])
    with pytest.raises(ValueError, match=f'FSPLoss: .*{message}'):
        loss([maps, maps], [maps, torch.zeros(shape)], LABELS)


def test_every_path_needs_its_features():
    maps = torch.zeros(3, 4, 4, 4)
    with pytest.raises(ValueError, match='zip'):
        FSPLoss([('a', 'b')], [('c', 'd')])([maps, maps], [maps, maps, maps], LABELS)
