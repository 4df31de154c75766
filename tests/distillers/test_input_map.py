import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor
from torch import nn

from mmbss.distillers import Teacher
from mmbss.distillers.input_map import InputMap

GREY = torch.full((1, 1, 1), 127.5), torch.full((1, 1, 1), 64.0)
COLOURS = torch.tensor([[100.0, 110, 120], [50.0, 60, 70]]).view(2, 3, 1, 1)


@pytest.mark.parametrize('reverses', [False, True])
@pytest.mark.parametrize('own', [GREY, COLOURS])
@pytest.mark.parametrize('of_student', [GREY, COLOURS])
def test_pixels_are_the_same_on_both_sides(own, of_student, reverses):
    pixels = torch.randint(256, (4, 3, 2, 2)).float()
    to_teacher = InputMap(own, of_student, reverses)
    inputs = (pixels - of_student[0]) / of_student[1]
    seen = to_teacher(inputs) * own[1] + own[0]
    torch.testing.assert_close(seen, pixels.flip(1) if reverses else pixels, rtol=0, atol=1e-3)
    torch.testing.assert_close(to_teacher.back(to_teacher(inputs)), inputs, rtol=0, atol=1e-5)
    assert to_teacher.is_identity == (own is of_student and not reverses)
    for bound, value in zip(to_teacher.bounds, (0, 255), strict=True):
        assert torch.equal(bound, (value - own[0]) / own[1])


def test_stored_logits_are_those_of_one_order_of_the_channels():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    student = ClsDataPreprocessor(mean=[127.5] * 3, std=[64.0] * 3)
    ends = dict(mean=[127.5] * 3, std=[64.0] * 3, student_preprocessor=student)
    one, other = (Teacher(network, reverse_channels=each, **ends) for each in (False, True))
    assert one.identity != other.identity
