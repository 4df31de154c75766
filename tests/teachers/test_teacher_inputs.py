"""What a teacher wants of its images: normalisation, order of channels and size."""

import pytest
import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn
from torch.nn import functional

from mmbss.engine.errors import ConfigError
from mmbss.teachers import Teacher
from mmbss.teachers.teacher_inputs import order_of_student, resized

CIFAR = [125.307, 122.961, 113.8575]
IMAGENET = [123.675, 116.28, 103.53]
STD = [60.0] * 3
OWN = dict(mean=[100.0, 110.0, 120.0], std=[50.0, 60.0, 70.0])


def means(images):
    """Logits: the mean of each channel."""
    return images.mean(dim=(2, 3))


def make(config=means, student=None, **keys):
    student = ClsDataPreprocessor(mean=CIFAR, std=STD) if student is None else student
    return Teacher(config, student_preprocessor=student, **keys)


@pytest.mark.parametrize(
    ('student', 'order'),
    [
        (dict(mean=CIFAR, std=STD), 'rgb'),
        (dict(mean=IMAGENET, std=STD, to_rgb=True), 'rgb'),
        (dict(mean=IMAGENET[::-1], std=STD), 'bgr'),
        (dict(mean=[127.5] * 3, std=STD, to_rgb=True), 'rgb'),
        (dict(to_rgb=True), 'rgb'),
        (dict(mean=[127.5] * 3, std=STD), None),
        (dict(mean=[127.5], std=[127.5]), None),
        (dict(), None),
    ],
)
def test_order_of_the_student(student, order):
    preprocessor = ClsDataPreprocessor(**student)
    assert order_of_student(preprocessor) == order
    if order is None:
        with pytest.raises(ConfigError, match='reverse_channels'):
            make(student=preprocessor, channels='rgb', **OWN)
    else:
        assert make(student=preprocessor, channels='rgb', **OWN).input_map.reverse_channels == (
            order != 'rgb'
        )
        assert make(student=preprocessor, channels='bgr', **OWN).input_map.reverse_channels == (
            order == 'rgb'
        )
    said = make(student=preprocessor, channels='rgb', reverse_channels=True, **OWN)
    assert said.input_map.reverse_channels is True


def test_channels_are_turned_both_ways():
    teacher = make(channels='bgr', **OWN)
    pixels = torch.randint(256, (2, 3, 4, 4)).float()
    inputs = ClsDataPreprocessor(mean=CIFAR, std=STD)(dict(inputs=pixels))['inputs']
    mean, std = (torch.tensor(OWN[key]).view(-1, 1, 1) for key in ('mean', 'std'))
    torch.testing.assert_close(
        teacher(inputs), means((pixels.flip(1) - mean) / std), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(teacher.to_student(teacher.from_student(inputs)), inputs)
    torch.testing.assert_close(teacher.input_map.lowest, -mean / std)
    torch.testing.assert_close(teacher.input_map.highest, (255 - mean) / std)


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [(5, 7), (24, 16)])
def test_resized_as_torch_does_and_within_the_pixels(interpolation, size):
    images = torch.rand(2, 3, 10, 12, dtype=torch.float64).round()  # edges that bicubic overshoots
    images.requires_grad_()
    bounds = (torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    found = resized(images, size, interpolation, bounds)
    plain = functional.interpolate(images, size, mode=interpolation, antialias=True)
    torch.testing.assert_close(found, plain.clamp(0, 1))
    assert found.dtype is torch.float64
    (gradient,) = torch.autograd.grad(found.sum(), images)
    assert gradient.abs().sum() > 0


def test_images_of_the_right_size_stay_as_they_are():
    images = torch.rand(2, 3, 10, 12)
    assert resized(images, (10, 12), 'bicubic', (0.4, 0.6)) is images


def test_the_teacher_resizes_when_it_is_asked():
    seen = []

    def network(images):
        seen.append(images)
        return means(images)

    teacher = make(network, input_size=(6, 9), **OWN)
    inputs = torch.randn(2, 3, 4, 4)
    teacher(inputs)
    assert teacher.from_student(inputs).shape == inputs.shape
    assert seen[0].shape == (2, 3, 6, 9)
    assert make(input_size=6).identity != make().identity
    assert make(input_size=6).input_size == (6, 6)


def test_half_precision_is_resized_before():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).half()
    teacher = make(network, input_size=6)
    assert teacher(torch.randn(2, 3, 4, 4)).dtype is torch.float16


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]), r'pixels of \[0, 255\]'),
        (dict(mean=[100.0] * 3), 'std'),
        (dict(std=[100.0] * 3), 'mean'),
        (dict(mean=[100.0] * 3, std=[50.0]), 'each channel'),
        (dict(mean=[], std=[]), 'each channel'),
        (dict(mean=[100.0] * 3, std=[0.0] * 3), 'pixels'),
        (dict(mean=[100.0] * 3, std=[float('inf')] * 3), 'pixels'),
        (dict(mean=[-100.0] * 3, std=[50.0] * 3), 'pixels'),
        (dict(mean=[100.0, 300.0, float('nan')], std=[50.0] * 3), 'pixels'),
        (dict(mean=100.0, std=50.0), 'each channel'),
        (dict(channels='rbg'), 'channels'),
        (dict(input_size=0), 'input_size'),
        (dict(input_size=[32]), 'input_size'),
        (dict(input_size=(32.0, 32)), 'input_size'),
        (dict(classes='abc'), 'classes'),
        (dict(classes=[]), 'classes'),
        (dict(acceleration=dict(fuse_bn=True)), 'no module'),
    ],
)
def test_what_is_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        make(**keys)


@pytest.mark.parametrize(
    ('network', 'message'),
    [
        (lambda images: means(images).softmax(1), 'probabilities'),
        (lambda images: means(images)[:1], 'N images'),
        (lambda images: means(images).long(), 'N images'),
        (lambda images: (means(images), images), 'N images'),
        (lambda images: means(images).numpy(), 'N images'),
    ],
)
def test_answers_that_are_no_logits(network, message):
    with pytest.raises(ConfigError, match=message):
        make(network)(torch.randn(2, 3, 4, 4))


def test_another_argument_is_another_teacher():
    def shifted(shift):
        return lambda images: means(images) + shift

    one, other = (make(shifted, arguments=dict(shift=shift)) for shift in (1.0, 2.0))
    assert one.identity != other.identity


def test_other_modules_with_the_same_weights_are_another_teacher():
    linear, parts = nn.Linear(3, 4), (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    one, other = (make(nn.Sequential(*parts, linear, last)) for last in (nn.ReLU(), nn.GELU()))
    assert one.facts.keys() == other.facts.keys()
    assert {key for key, fact in one.facts.items() if fact != other.facts[key]} == {'network'}
    assert one.identity != other.identity


def test_raw_pixels_can_be_wanted():
    teacher = make(mean=[0.0] * 3, std=[1.0] * 3, reverse_channels=False)
    pixels = torch.randint(256, (2, 3, 4, 4)).float()
    inputs = ClsDataPreprocessor(mean=CIFAR, std=STD)(dict(inputs=pixels))['inputs']
    torch.testing.assert_close(teacher(inputs), means(pixels), atol=1e-3, rtol=1e-4)


def test_names_of_classes():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.num_classes = 3
    assert make(network, classes=['a', 'b', 'c']).classes == ('a', 'b', 'c')
    with pytest.raises(ConfigError, match='names 2'):
        make(network, classes=['a', 'b'])
