"""Let mmpretrain's ``ColorJitter`` draw a negative hue.

Cause: mmcv 2.2 adds ``np.uint8(hue_factor * 255)`` to the hue and counts on it to wrap around
below zero, which NumPy >= 2 refuses.
"""

from typing import Any

import cv2
import numpy as np


def repair(mmcv: Any) -> None:
    """Replace ``mmcv.adjust_hue`` if it fails."""
    original = mmcv.adjust_hue
    try:
        original(np.zeros((1, 1, 3), np.uint8), -0.1)
        return
    except OverflowError:
        pass

    def adjust_hue(img: np.ndarray, hue_factor: float, backend: str | None = None) -> np.ndarray:
        if not -0.5 <= hue_factor < 0:
            return original(img, hue_factor, backend)
        hsv = cv2.cvtColor(img.astype(np.uint8), cv2.COLOR_BGR2HSV_FULL)
        hsv[..., 0] += np.uint8(int(hue_factor * 255) % 256)  # uint8 addition turns the circle
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL).astype(img.dtype)

    for module in (mmcv, mmcv.image, mmcv.image.photometric):
        module.adjust_hue = adjust_hue
