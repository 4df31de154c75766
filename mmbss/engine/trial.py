"""Try a model on two training samples, so that what does not fit shows before the training."""

from contextlib import suppress
from typing import Any

import torch
from mmengine.runner import BaseLoop, Runner
from mmpretrain.models import ImageClassifier
from torch import Tensor

from mmbss.engine.errors import ConfigError, is_of_input, one_line
from mmbss.engine.models import evaluation_mode, unwrap
from mmbss.engine.randomness import unchanged_randomness

#: Settings on which the shapes depend.
SHAPES = dict(
    backbone=('in_channels', 'in_features', 'img_size', 'out_indices'),
    neck=('in_channels',),
    head=('in_channels', 'num_classes'),
)

#: Larger datasets that name no classes are not searched for labels.
MOST_LABELS = 20_000


def try_training(runner: Runner) -> None:
    """Refuse a training without data, or whose samples do not pass through the model.

    Nothing is learnt, and random numbers are drawn as if this had not been called. A model with
    a method ``try_terms(inputs, data_samples)``, such as a distiller, tries the rest of what it
    does with a batch itself. Of models that are no image classifiers the data alone are tried.

    Raises:
        ConfigError: With what does not fit.
    """
    if runner.train_loop is None:
        raise ConfigError(
            'train_cfg=None: there is nothing to train; give train_cfg, train_dataloader and '
            'optim_wrapper'
        )
    loader = runner.train_dataloader
    if not len(loader):
        raise ConfigError(
            f'train_dataloader.batch_size={loader.batch_size} leaves no batch of '
            f'{len(loader.dataset)} samples (drop_last={loader.drop_last}): take a smaller one, '
            'set drop_last=False, or correct train_dataloader.dataset'
        )
    model = unwrap(runner.model)
    with unchanged_randomness(), torch.no_grad(), evaluation_mode(model):
        data = read_samples(model, loader)
        if not isinstance(model, ImageClassifier) or not model.head:
            return
        for name in ('train', 'val'):
            loop = getattr(runner, f'_{name}_loop')
            if isinstance(loop, BaseLoop):
                classes = runner.cfg.model.get('head', {}).get('num_classes')
                check_labels(loop.dataloader.dataset, classes, f'{name}_dataloader.dataset')
        check_forward(model, data['inputs'], runner.cfg.model)
        if hasattr(model, 'try_terms'):
            model.try_terms(data['inputs'], data['data_samples'])


def read_samples(model: Any, loader: Any) -> Any:
    """Two samples as the model gets them.

    Raises:
        ConfigError: If they cannot be read, or put into one batch.
    """
    try:
        samples = [loader.dataset[index] for index in range(min(2, len(loader.dataset)))]
        if isinstance(samples[0], dict) and 'inputs' not in samples[0]:
            raise ConfigError(
                'train_dataloader.dataset.pipeline hands no inputs to the model, but '
                f"{', '.join(samples[0])}: add dict(type='PackInputs') at its end"
            )
        return model.data_preprocessor(loader.collate_fn(samples), training=True)
    except Exception as error:  # transforms and collate functions raise anything
        if isinstance(error, ConfigError) or not is_of_input(error):
            raise
        raise ConfigError(
            'train_dataloader.dataset: its first two samples make no batch '
            f'({type(error).__name__}: {one_line(error)}): correct its paths or pipeline, or the '
            'data_preprocessor'
        ) from error


def check_labels(dataset: Any, count: int | None, where: str) -> None:
    """Refuse labels beyond the classes of the model.

    Args:
        dataset: Any; where it names its classes, the labels are taken to be theirs.
        count: Classes of the model; None where that is not said.
        where: Path of the dataset in the config.
    """
    names = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    needed = 0
    if isinstance(names, (list, tuple)):
        needed = len(names)
    elif len(dataset) <= MOST_LABELS and hasattr(dataset, 'get_gt_labels'):
        with suppress(TypeError, ValueError):  # several labels a sample
            needed = 1 + max(map(int, dataset.get_gt_labels()), default=-1)
    if count is not None and needed > count:
        raise ConfigError(
            f'model.head.num_classes={count} is too few for the {needed} classes of {where}: set '
            f'model.head.num_classes={needed}'
        )


def check_forward(model: ImageClassifier, inputs: Tensor, config: dict[str, Any]) -> None:
    """Refuse images that do not pass through the model."""
    try:
        model(inputs)
    except Exception as error:  # any layer may refuse them in its own way
        if not is_of_input(error):
            raise
        given = [
            f'model.{part}.{key}={config[part][key]}'
            for part, keys in SHAPES.items()
            for key in keys
            if key in (config.get(part) or ())
        ]
        shape = ', '.join(map(str, inputs.shape[1:]))
        raise ConfigError(
            f'model: images of shape ({shape}) do not pass ({type(error).__name__}: '
            f'{one_line(error)}): correct {", ".join(given) or "it"} or the images'
        ) from error
