import io
import itertools

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmbss.metrics.corruptions import CONSTANTS, brighten, compress, corrupt, round_to_pixels

SEEDS = torch.arange(3)


@pytest.fixture
def images():
    """Smooth images, of which blur and JPEG leave something."""
    coarse = torch.rand(3, 3, 4, 4)
    smooth = torch.nn.functional.interpolate(coarse, (32, 32), mode='bilinear').clamp(0, 1)
    return round_to_pixels(smooth)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('kind', CONSTANTS)
def test_a_higher_severity_changes_more(kind, channels, images):
    images = images[:, :channels]
    corrupted = [corrupt(images, kind, severity, SEEDS) for severity in range(1, 6)]
    changes = [float((each - images).square().mean()) for each in corrupted]
    assert changes == sorted(changes)
    assert 0 < changes[0] < changes[-1]
    for each in corrupted:
        assert each.shape == images.shape
        assert each.dtype == torch.float32
        assert 0 <= each.min() <= each.max() <= 1
        assert torch.allclose(each * 255, (each * 255).round(), atol=1e-4)


@pytest.mark.parametrize('kind', CONSTANTS)
def test_an_image_is_corrupted_alike_in_any_batch(kind, images):
    whole = corrupt(images, kind, 3, SEEDS)
    for row in range(3):
        alone = corrupt(images[row : row + 1], kind, 3, SEEDS[row : row + 1])
        assert torch.allclose(alone[0], whole[row], atol=1e-6)


def test_noise_has_the_deviation_and_other_seeds_give_other_noise(images):
    grey = torch.full_like(images, 0.5)
    noisy = corrupt(grey, 'gaussian_noise', 5, SEEDS)
    assert float((noisy - 0.5).std()) == pytest.approx(0.1, rel=0.05)
    assert not torch.equal(noisy[0], noisy[1])


def test_blur_is_that_of_opencv(images):
    blurred = corrupt(images, 'gaussian_blur', 5, SEEDS)
    for image, own in zip(images, blurred, strict=True):
        expected = cv2.GaussianBlur(
            image.permute(1, 2, 0).numpy(), (9, 9), 1.0, borderType=cv2.BORDER_REFLECT_101
        )
        assert np.abs(own.permute(1, 2, 0).numpy() - expected).max() < 0.5 / 255 + 1e-5


def test_contrast_shrinks_about_the_mean_of_each_channel(images):
    low = corrupt(images, 'contrast', 5, SEEDS)
    for row, channel in itertools.product(range(3), range(3)):
        mean = images[row, channel].mean()
        expected = 0.15 * (images[row, channel] - mean) + mean
        assert torch.allclose(low[row, channel], expected, atol=0.5 / 255 + 1e-5)


def test_brightness_is_the_value_of_opencvs_hsv(images):
    images[:, :, 0, 0] = 0
    for image, own in zip(images, brighten(images, 0.3), strict=True):
        hsv = cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV)
        hsv[:, :, 2] = np.minimum(hsv[:, :, 2] + 0.3, 1)
        expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        assert np.abs(own.permute(1, 2, 0).numpy() - expected).max() < 1e-4


def test_jpeg_has_the_colours_where_they_were(images):
    expected = io.BytesIO()
    pixels = (images[0] * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(expected, 'JPEG', quality=40)
    decoded = torch.from_numpy(np.array(Image.open(expected))).permute(2, 0, 1) / 255
    assert torch.equal(compress(images, 40)[0], decoded)
    assert float((compress(images, 95) - images).abs().mean()) < 0.02
