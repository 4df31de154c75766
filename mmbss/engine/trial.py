"""Try a model on two training samples, so that what does not fit shows before the training."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier
from torch import Tensor

from mmbss.distillers import Distiller
from mmbss.distillers.distiller import class_labels, feature_paths
from mmbss.engine.errors import ConfigError
from mmbss.losses import FeatureLoss

#: Settings on which the shapes depend.
SHAPES = (
    *('backbone.in_channels', 'backbone.in_features', 'backbone.img_size', 'backbone.out_indices'),
    *('neck.in_channels', 'head.in_channels', 'head.num_classes'),
)

#: Larger datasets are not searched for labels.
MOST_LABELS = 200_000


def try_training(runner: Runner) -> None:
    """Refuse a training without data, or whose samples do not pass through its networks.

    Nothing is learnt, and random numbers are drawn as if this had not been called. Of models
    that are no image classifiers, and of compiled ones, the data alone are tried.

    Raises:
        ValueError: In one line with what does not fit.
    """
    if runner.train_loop is None:
        raise ConfigError(
            'train_cfg=None: there is nothing to train; give train_cfg, train_dataloader and '
            'optim_wrapper'
        )
    loader = runner.train_dataloader
    count = len(loader.dataset)
    if not len(loader):
        raise ConfigError(
            f'train_dataloader.batch_size={loader.batch_size} leaves no batch of {count} samples '
            f'(drop_last={loader.drop_last}): take a smaller one, set drop_last=False, or correct '
            'train_dataloader.dataset'
        )
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    with unchanged_randomness(), torch.no_grad():
        data = read_samples(model, loader)
        if not isinstance(model, ImageClassifier) or not model.head:
            return
        if runner.cfg.model.get('compile'):
            return
        check_labels(loader.dataset, runner.cfg.model)
        was_training = model.training
        try:
            model.eval()
            check_forward(model, data['inputs'], runner.cfg.model)
            if isinstance(model, Distiller):
                check_features(model, data['inputs'], class_labels(data['data_samples']))
        finally:
            model.train(was_training)


@contextmanager
def unchanged_randomness() -> Iterator[None]:
    """Put the random number generators back to where they were."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def read_samples(model: Any, loader: Any) -> Any:
    """Two samples as the model gets them.

    Raises:
        ValueError: If they cannot be read, or put into one batch.
    """
    try:
        samples = [loader.dataset[index] for index in range(min(2, len(loader.dataset)))]
        return model.data_preprocessor(loader.collate_fn(samples), training=True)
    except Exception as error:  # transforms and collate functions raise anything
        raise ConfigError(
            'train_dataloader.dataset: its first two samples make no batch '
            f'({type(error).__name__}: {error}): correct its paths or pipeline, or the '
            'data_preprocessor'
        ) from error


def check_labels(dataset: Any, config: dict[str, Any]) -> None:
    """Refuse labels beyond the classes of the model."""
    classes = config.get('head', {}).get('num_classes')
    if classes is None or len(dataset) > MOST_LABELS or not hasattr(dataset, 'get_gt_labels'):
        return
    labels = np.asarray(dataset.get_gt_labels())
    if labels.size and labels.max() >= classes:
        raise ConfigError(
            f'model.head.num_classes={classes} is too few for the labels of '
            f'train_dataloader.dataset, which go up to {labels.max()}: set '
            f'model.head.num_classes={labels.max() + 1}'
        )


def check_forward(model: ImageClassifier, inputs: Tensor, config: dict[str, Any]) -> None:
    """Refuse images that do not pass through the student or the teacher."""
    parts: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]] = {'model': (model, config)}
    if isinstance(model, Distiller):
        parts['model.teacher'] = (partial(ask_teacher, model), {})
    for name, (network, settings) in parts.items():
        try:
            network(inputs)
        except Exception as error:  # any layer may refuse them in its own way
            shape = ', '.join(map(str, inputs.shape[1:]))
            given = [f'{name}.{key}={value}' for key, value in _find(settings, SHAPES)]
            raise ConfigError(
                f'{name}: images of shape ({shape}) do not pass ({type(error).__name__}: {error}): '
                f'correct {", ".join(given) or f"{name}.config"} or the images'
            ) from error


def check_features(model: Distiller, inputs: Tensor, labels: Tensor) -> None:
    """Refuse features that do not fit a loss, also where its weight is 0 at first.

    Raises:
        ValueError: Naming the layers and their shapes.
    """
    losses = [loss for loss in model.distillation_losses.values() if isinstance(loss, FeatureLoss)]
    recorders = dict(student=model.recorder, teacher=model.teacher.recorder)
    with ExitStack() as stack:
        features = {
            role: stack.enter_context(recorder.recording(feature_paths(losses, role)))
            for role, recorder in recorders.items()
        }
        model(inputs)
        ask_teacher(model, inputs)
    for loss in losses:
        loss(*([features[role][path] for path in loss.layers[role]] for role in recorders), labels)


def ask_teacher(model: Distiller, inputs: Tensor) -> Tensor:
    """(N, K) logits of the teacher; whether a faster form of it is right, a batch must show."""
    return model.teacher.answer(model.teacher.from_student(inputs))


def _find(config: dict[str, Any], paths: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for path in paths:
        part, key = path.split('.')
        entry = config.get(part)
        if isinstance(entry, dict) and key in entry:
            yield path, entry[key]
