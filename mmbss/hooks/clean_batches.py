"""Training samples as they go into the networks, apart from the training."""

from collections.abc import Iterator, Sequence

from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from mmbss.distillers import Distiller
from mmbss.distillers.data_samples import check_finite

Batch = tuple[Tensor, list[DataSample]]


def clean_batches(
    model: Distiller, source: DataLoader, rows: Sequence[int] | None = None
) -> Iterator[Batch]:
    """Samples of a training loader in their order, as they go into the student in training.

    Args:
        model: Whose data preprocessor is used.
        source: The loader of the training, which may never end, and is not advanced.
        rows: Which of the samples; None for all.

    Raises:
        ConfigError: If an image holds NaN or infinity.
    """
    dataset: Dataset = source.dataset if rows is None else Subset(source.dataset, rows)
    loader = DataLoader(
        dataset,
        batch_size=source.batch_size or 64,
        num_workers=source.num_workers,
        collate_fn=source.collate_fn,
    )
    for batch in loader:
        data = model.data_preprocessor(batch, training=True)
        check_finite(data['inputs'])
        yield data['inputs'], data['data_samples']
