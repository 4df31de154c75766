"""Say which image file cannot be read, or be used by a step of a pipeline, and what to do.

Cause: where a file has vanished or is damaged, or OpenCV or the memory gives up, as at an image a
thousand times as long as wide that is enlarged, mmengine's ``Compose`` ends with whatever error
comes up below it, and few of these name the file.
"""

import functools
from collections.abc import Iterable
from typing import Any

import cv2

from mmbss.engine.errors import ConfigError, one_line

#: What a step fails with at an image that is too large for it.
AT_A_STEP = (MemoryError, cv2.error)


def repair(base_dataset: Any) -> None:
    """Name the image in errors of ``Compose``."""
    original = base_dataset.Compose.__call__

    @functools.wraps(original)
    def call(self: Any, data: Any) -> Any:
        try:
            return original(self, data)
        except (AssertionError, OSError, *AT_A_STEP) as error:
            data = data if isinstance(data, dict) else {}
            path, shape = data.get('img_path'), data.get('ori_shape')  # which loading sets
            if path and not shape and loads_files(self.transforms):
                raise ConfigError(
                    f'cannot read the image {path} ({type(error).__name__}): restore the file, or '
                    'take it out of the dataset, then go on with --resume'
                ) from error
            if path and shape and isinstance(error, AT_A_STEP):
                raise ConfigError(
                    f'the pipeline cannot use the image {path} of {shape[1]} x {shape[0]} pixels: '
                    f'{one_line(error)}: take it out of the dataset or change the pipeline, then '
                    'go on with --resume'
                ) from error
            raise

    base_dataset.Compose.__call__ = call


def loads_files(steps: Iterable[Any]) -> bool:
    """Whether one of the steps is mmcv's that reads a file, or derives from it."""
    kinds = {kind.__name__ for step in steps for kind in type(step).__mro__}
    return 'LoadImageFromFile' in kinds
