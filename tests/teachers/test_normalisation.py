import pytest
import torch
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmpretrain.models import ClsDataPreprocessor
from torch import nn

from mmbss.datasets import AugmentingDataPreprocessor
from mmbss.engine.errors import ConfigError
from mmbss.teachers import Teacher
from mmbss.teachers.normalisation import InputMap, check_normalisation, pixel_bounds

CPU = torch.device('cpu')

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


class Unit(ClsDataPreprocessor):
    """Divides by 255 before it normalises, if it does."""

    def forward(self, data, training=False):
        return super().forward(dict(data, inputs=data['inputs'].float() / 255), training)


class Bare(BaseDataPreprocessor):
    def forward(self, data, training=False):
        return dict(data, inputs=data['inputs'].float() / 255)


class Listed(BaseDataPreprocessor):
    """Takes what mmpretrain's own way to collate gives, and has its normalisation by itself."""

    def __init__(self):
        super().__init__()
        self.register_buffer('mean', torch.tensor([1.0, 2.0, 3.0]).view(-1, 1, 1))
        self.register_buffer('std', torch.tensor([4.0, 5.0, 6.0]).view(-1, 1, 1))

    def forward(self, data, training=False):
        assert all(sample.gt_label == 0 for sample in data['data_samples'])
        return dict(inputs=(torch.stack([*data['inputs']]) - self.mean) / self.std)


class ListsAlone(Listed):
    def forward(self, data, training=False):
        return super().forward(dict(data, inputs=data['inputs'] + []), training)


COLOUR = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0])
MIXING = dict(augments=dict(type='Mixup', alpha=1.0))


@pytest.mark.parametrize(
    'preprocessor',
    [
        ClsDataPreprocessor(),
        ClsDataPreprocessor([77.9], [95.9], pad_size_divisor=32, pad_value=7),
        ClsDataPreprocessor(**COLOUR, to_rgb=True),
        ClsDataPreprocessor([1.0] * 5, [2.0] * 5),
        ClsDataPreprocessor(**COLOUR, to_onehot=True, num_classes=10),
        ClsDataPreprocessor(**COLOUR, to_onehot=True),
        AugmentingDataPreprocessor(2, 0.5, **COLOUR, num_classes=10, batch_augments=MIXING),
        BaseDataPreprocessor(),
        ImgDataPreprocessor(**COLOUR, bgr_to_rgb=True),
        Listed(),
        ListsAlone(),
    ],
)
def test_a_preprocessor_that_normalises_is_known(preprocessor):
    check_normalisation(preprocessor)
    check_normalisation(preprocessor, keeps_places=True)


class Halves(ClsDataPreprocessor):
    """Images of half the size."""

    def forward(self, data, training=False):
        return super().forward(dict(data, inputs=data['inputs'][..., ::2, ::2]), training)


class Fails(ClsDataPreprocessor):
    def forward(self, data, training=False):
        raise RuntimeError('too small an image')


def test_a_size_counts_where_pixels_have_to_keep_their_places():
    check_normalisation(Halves(**COLOUR))
    with pytest.raises(ConfigError, match='Halves does something else'):
        check_normalisation(Halves(**COLOUR), keeps_places=True)


def test_what_a_preprocessor_says_is_named():
    with pytest.raises(ConfigError, match='too small an image'):
        check_normalisation(Fails())


@pytest.mark.parametrize(
    'preprocessor', [Unit(), Unit([0.5] * 3, [0.25] * 3), Bare(), nn.Identity()]
)
def test_a_preprocessor_that_does_something_else_is_refused(preprocessor):
    with pytest.raises(ConfigError, match=f'^data_preprocessor: {type(preprocessor).__name__} '):
        check_normalisation(preprocessor)
    with pytest.raises(ConfigError, match='take ClsDataPreprocessor'):
        pixel_bounds(preprocessor, CPU)


def test_what_is_no_tensor_is_no_normalisation():
    preprocessor = Bare()
    preprocessor.mean, preprocessor.std = [0.0], [255.0]
    with pytest.raises(ConfigError, match='take ClsDataPreprocessor'):
        check_normalisation(preprocessor)


def test_pixels_are_normalised():
    assert pixel_bounds(ClsDataPreprocessor(), CPU) == (0.0, 255.0)
    bounds = pixel_bounds(ClsDataPreprocessor([120.0], [60.0]), CPU)
    assert bounds == (-2.0, 2.25)
