"""The images that a trial takes: the first and the last of a dataset, in batches as they come."""

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmpretrain.models import ClsDataPreprocessor
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

from mmbss.engine.build import is_known
from mmbss.engine.errors import ConfigError, is_of_input, one_line


def batch_sizes(loader: Any) -> list[int]:
    """Numbers of images, at most 3, that stand for the batches of a loader.

    They are one where there are batches of one, and even or odd as the batches are: what may fail
    is one image in BatchNorm, or an odd number where images are paired.

    Returns:
        That of most batches, and that of the last one where it differs.
    """
    size = loader.batch_size
    if size is None or type(loader.batch_sampler) is not BatchSampler:
        return [min(2, len(loader.dataset))]
    whole, last = divmod(len(loader.sampler), size)
    if isinstance(loader.sampler, InfiniteSampler):
        whole, last = 1, 0
    sizes = [size] if whole else []
    if last and not loader.drop_last:
        sizes.append(last)
    return list(dict.fromkeys(each if each < 3 else 2 + each % 2 for each in sizes))


def edge_rows(size: int, count: int) -> list[int]:
    """So many of ``size`` rows, the first ones and the last.

    Examples:
        >>> edge_rows(10, 3), edge_rows(10, 1), edge_rows(1, 2)
        ([0, 1, 9], [0], [0])
    """
    rows = [*range(count - 1), size - 1] if count > 1 else [0]
    return sorted({min(row, size - 1) for row in rows})


def read_batch(
    loader: DataLoader, rows: Sequence[int], model: Any, where: str, training: bool
) -> tuple[Any, Any]:
    """Samples in one batch, as the loader hands them over, and as the model gets them.

    Raises:
        ConfigError: If they cannot be read, or put into one batch.
    """
    dataset: Any = loader.dataset
    samples: list[Any] = []
    try:
        samples.extend(dataset[row] for row in rows)
        if isinstance(samples[0], dict) and 'inputs' not in samples[0]:
            raise ConfigError(
                f'{where}.dataset.pipeline hands no inputs to the model, but '
                f"{', '.join(samples[0])}: add dict(type='PackInputs') at its end"
            )
        # self-supervised models take several, and so may what is somebody's own
        kind = type(model.data_preprocessor)
        takes_one = issubclass(kind, ClsDataPreprocessor) and is_known(kind)
        views = samples[0].get('inputs') if isinstance(samples[0], dict) else None
        if takes_one and isinstance(views, (list, tuple)):
            raise ConfigError(
                f'{where}.dataset.pipeline hands {len(views)} views of each image '
                'to the model, and a classifier takes one: leave out MultiView and the like'
            )
        batch = loader.collate_fn(samples)
        return batch, model.data_preprocessor(batch, training=training)
    except Exception as error:  # transforms and collate functions raise anything
        if isinstance(error, ConfigError) or not is_of_input(error):
            raise
        reason = f'{type(error).__name__}: {one_line(error)}'
        shapes = [tuple(sample['inputs'].shape) for sample in samples if _has_tensor(sample)]
        if len({*shapes}) > 1:
            others = shapes[0]
            row = next(row for row, shape in enumerate(shapes) if shape != others)
            raise ConfigError(
                f'{where}.dataset: {_name(samples[row], rows[row])} is of shape {shapes[row]}, '
                f'{_name(samples[0], rows[0])} of {others}, and images of a batch need one shape: '
                'bring them to it in the pipeline, for instance by dict(type="Resize", '
                f'scale={others[-1:0:-1]}), or repair the file'
            ) from error
        raise ConfigError(
            f'{where}.dataset: of its first and last samples, rows {[*rows]}, no batch can be '
            f'made ({reason}): correct its paths or pipeline, or the data_preprocessor'
        ) from error


def _has_tensor(sample: Any) -> bool:
    return isinstance(sample, dict) and isinstance(sample.get('inputs'), Tensor)


def _name(sample: Any, row: int) -> str:
    path = getattr(sample.get('data_samples'), 'img_path', None)
    return f'row {row}' if path is None else str(path)
