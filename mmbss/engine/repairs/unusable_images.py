"""Say of which image a step of a pipeline cannot make what it should.

Cause: where OpenCV or the memory gives up, as at an image a thousand times as long as wide that is
enlarged, mmengine's ``Compose`` ends with an error that does not say which file it was.
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
        except (cv2.error, MemoryError) as error:
            if not (isinstance(data, dict) and data.get('img_path')):
                raise
            raise ConfigError(
                f'the pipeline cannot use the image {data["img_path"]} of '
                f'{_size(data.get("ori_shape"))}: {one_line(error)}: take it out of the dataset '
                'or change the pipeline, then go on with --resume'
            ) from error

    base_dataset.Compose.__call__ = call


def _size(shape: Any) -> str:
    return 'unknown size' if shape is None else f'{shape[1]} x {shape[0]} pixels'
