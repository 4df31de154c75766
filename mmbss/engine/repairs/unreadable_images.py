"""Say which image file cannot be read, and what to do.

Cause: where a file has vanished or is damaged, mmcv's ``LoadImageFromFile`` ends with whatever
error comes up below it; that of an empty file does not name the file.
"""

import functools
from typing import Any

import cv2

from mmbss.engine.errors import ConfigError


def repair(loading: Any) -> None:
    """Explain the errors of ``LoadImageFromFile``."""
    original = loading.LoadImageFromFile.transform

    @functools.wraps(original)
    def transform(self: Any, results: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return original(self, results)
        except (AssertionError, OSError, cv2.error) as error:
            raise ConfigError(
                f'cannot read the image {results["img_path"]} ({type(error).__name__}): restore '
                'the file, or take it out of the dataset, then go on with --resume'
            ) from error

    loading.LoadImageFromFile.transform = transform
