"""What becomes of the test images of a config."""

from collections.abc import Iterable
from typing import Any

from mmengine.config import Config


def transforms_of(config: Config) -> list[dict[str, Any]]:
    """The pipeline of the test images, also where the data set is wrapped in others; may be empty.

    Examples:
        >>> inner = dict(type='CustomDataset', pipeline=[dict(type='PackInputs')])
        >>> loader = dict(dataset=dict(type='RepeatDataset', dataset=inner))
        >>> transforms_of(Config(dict(test_dataloader=loader)))
        [{'type': 'PackInputs'}]
    """
    loader = config.get('test_dataloader') or config.get('val_dataloader') or {}
    dataset = loader.get('dataset', {})
    while 'pipeline' not in dataset:
        inner = dataset.get('dataset') or next(iter(dataset.get('datasets', [])), None)
        if inner is None:
            return []
        dataset = inner
    return [dict(each) for each in Config(dict(pipeline=dataset['pipeline'])).to_dict()['pipeline']]


def turns_channels(transforms: Iterable[dict[str, Any]]) -> bool:
    """Whether a pipeline turns the order of the channels, as ``NumpyToPIL(to_rgb=True)`` does.

    Examples:
        >>> there, back = dict(type='NumpyToPIL', to_rgb=True), dict(type='PILToNumpy', to_bgr=True)
        >>> turns_channels([there]), turns_channels([there, back])
        (True, False)
    """
    return sum(bool(each.get('to_rgb') or each.get('to_bgr')) for each in transforms) % 2 == 1


def reads_files(transforms: Iterable[dict[str, Any]]) -> bool:
    """Whether a pipeline begins with files of images, which OpenMMLab reads as BGR."""
    return any(str(each['type']).endswith('LoadImageFromFile') for each in transforms)
