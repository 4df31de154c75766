import cv2
import mmcv
import numpy as np
import pytest
from mmcv.image import photometric

from mmbss.engine.repairs import negative_hue


@pytest.fixture
def image():
    return np.random.randint(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize('hue', [-0.5, -0.4, -0.1, -0.01])
def test_a_negative_hue_is_the_rest_of_the_circle_in_the_other_direction(image, hue):
    image = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    image[..., 1] = np.maximum(image[..., 1], 64)  # hues of grey pixels mean nothing
    image[..., 2] = np.maximum(image[..., 2], 64)
    image = cv2.cvtColor(image, cv2.COLOR_HSV2BGR_FULL)
    turned = mmcv.adjust_hue(image, hue)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL).astype(int)
    hsv[..., 0] = (hsv[..., 0] + round((1 + hue) * 256)) % 256
    expected = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR_FULL)
    assert turned.dtype == image.dtype
    # one step of the hue moves a channel by at most six values
    assert np.abs(turned.astype(int) - expected.astype(int)).max() <= 12


def test_turning_there_and_back_is_nearly_the_image(image):
    back = mmcv.adjust_hue(mmcv.adjust_hue(image, 0.2), -0.2)
    assert np.abs(back.astype(int) - image.astype(int)).mean() < 8


@pytest.mark.parametrize('hue', [0.0, 0.1, 0.5])
def test_other_hues_are_mmcvs_own(image, hue):
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    hsv[..., 0] += np.uint8(hue * 255)
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)
    np.testing.assert_array_equal(mmcv.adjust_hue(image, hue), expected)


@pytest.mark.parametrize('hue', [-0.6, 0.6])
def test_a_hue_out_of_range_is_refused(image, hue):
    with pytest.raises(ValueError, match='hue_factor'):
        mmcv.adjust_hue(image, hue)


def test_a_sound_adjust_hue_is_left_alone(monkeypatch):
    def sound(img, hue_factor, backend=None):
        return img

    for module in (mmcv, mmcv.image, photometric):
        monkeypatch.setattr(module, 'adjust_hue', sound)
    negative_hue.repair(mmcv)
    assert mmcv.adjust_hue is mmcv.image.adjust_hue is photometric.adjust_hue is sound


def test_colour_jitter_draws_negative_hues(image):
    from mmpretrain.registry import TRANSFORMS

    jitter = TRANSFORMS.build(dict(type='mmpretrain.ColorJitter', hue=0.5))
    for _ in range(20):
        assert jitter(dict(img=image))['img'].shape == image.shape
