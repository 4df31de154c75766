"""Say which image file cannot be read, or be used by a step of a pipeline, and what to do.

Cause: where a file has vanished or is damaged, or OpenCV or the memory gives up, as at an image a
thousand times as long as wide that is enlarged, mmengine's ``Compose`` ends with whatever error
comes up below it, and few of these name the file.
"""

import functools
from typing import Any

import cv2

from mmbss.engine.errors import ConfigError, one_line


def repair(base_dataset: Any) -> None:
    """Name the image in errors of ``Compose``."""
    original = base_dataset.Compose.__call__

    @functools.wraps(original)
    def call(self: Any, data: Any) -> Any:
        try:
            return original(self, data)
        except (AssertionError, MemoryError, OSError, cv2.error) as error:
            path, shape = (
                data.get(key) if isinstance(data, dict) else None
                for key in ('img_path', 'ori_shape')
            )
            if path is None or (shape and isinstance(error, AssertionError | OSError)):
                raise
            if not shape:  # which loading sets
                raise ConfigError(
                    f'cannot read the image {path} ({type(error).__name__}): restore the file, or '
                    'take it out of the dataset, then go on with --resume'
                ) from error
            raise ConfigError(
                f'the pipeline cannot use the image {path} of {shape[1]} x {shape[0]} pixels: '
                f'{one_line(error)}: take it out of the dataset or change the pipeline, then go '
                'on with --resume'
            ) from error

    base_dataset.Compose.__call__ = call
