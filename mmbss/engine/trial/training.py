"""Try what a training does on a few images, so that what does not fit shows before it begins."""

from contextlib import nullcontext
from math import inf
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner, ValLoop
from mmpretrain.engine.hooks import SwitchRecipeHook
from mmpretrain.models import ImageClassifier
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmbss.engine.class_names import as_names
from mmbss.engine.errors import ConfigError, is_of_input, reason_of, refuse
from mmbss.engine.models import unwrap
from mmbss.engine.randomness import unchanged_randomness
from mmbss.engine.schedules import doubts_of_lengths
from mmbss.engine.trial.answers import check_steady
from mmbss.engine.trial.batches import batch_sizes, edge_rows, read_batch
from mmbss.engine.trial.optimizer import check_optimizer
from mmbss.engine.trial.pixels import (
    CHANGES_INPUTS,
    check_bounds,
    check_channels,
    check_units,
    check_untouched,
    doubts_of_units,
)
from mmbss.engine.trial.sides import (
    Side,
    compare_sides,
    doubts,
    doubts_of_overlap,
    side_of,
)
from mmbss.engine.trial.unchanged import unchanged, unchanged_attributes
from mmbss.engine.trial.validation import schedules_of, try_validation

#: Settings on which it depends whether images pass.
SETTINGS = dict(
    backbone=('in_channels', 'in_features', 'img_size', 'out_indices'),
    neck=('in_channels',),
    head=('type', 'in_channels', 'num_classes', 'distillation', 'loss'),
)

#: What torch says of BatchNorm for one image.
OF_ONE = 'Expected more than 1 value per channel'


def try_training(runner: Runner) -> None:
    """Refuse a training without data, or one that would fail later.

    The first and last images of training and validation data pass their pipelines, those of the
    training the model in training mode, forward and backward, in as few or as odd numbers as
    its batches have, and those of the validation every metric. What the data, the student and the
    teacher say of classes and pixels is compared, and the optimizer with what is to be learnt.

    Nothing is learnt: weights, statistics of BatchNorm, modes and random numbers are afterwards
    as if this had not been called. A model with a method ``try_terms(inputs, data_samples)``, such
    as a distiller, gives all losses itself, also those of weight 0. Of models that are no image
    classifiers the data alone are tried.

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
    is_tried = isinstance(model, ImageClassifier) and bool(model.head)
    # loops of other kinds do as they like
    validation = runner.val_loop if isinstance(runner.val_loop, ValLoop) else None
    with unchanged_randomness(), unchanged(model):
        if is_tried:
            compare_classes(runner, model, validation)
            check_optimizer(runner, model)
            check_later_mixing(runner, model)
            if loader.batch_size is not None:
                check_batch_norm(model, min(loader.batch_size, len(loader.dataset)))
        seen, validated = try_batches(runner, model, is_tried), []
        if is_tried and validation is not None:
            # a metric may remember, too
            with unchanged_attributes(validation.evaluator.metrics):
                validated = try_validation(runner, model.eval(), validation)
        preprocessor = getattr(model, 'data_preprocessor', None)
        # a loop of another kind may say neither
        lengths = (getattr(runner.train_loop, f'max_{unit}', inf) for unit in ('epochs', 'iters'))
        for doubt in (
            *doubts_of_units(seen, validated, preprocessor),
            *doubts_of_lengths(schedules_of(runner), *lengths),
        ):
            runner.logger.warning(doubt)


def try_batches(runner: Runner, model: Any, is_tried: bool) -> list[Tensor]:
    """Refuse training images that cannot be read, or do not pass the model; returns them."""
    loader, seen = runner.train_dataloader, []
    for size in batch_sizes(loader):
        rows = edge_rows(len(loader.dataset), size)
        _, data = read_batch(loader, rows, model, 'train_dataloader', training=True)
        if is_tried:
            seen.append(data['inputs'])
            check_images(model, data['inputs'])
            try_learning(runner, model, data['inputs'], data['data_samples'])
    return seen


def compare_classes(runner: Runner, model: Any, validation: ValLoop | None) -> None:
    """Refuse data and networks that speak of different classes, and log what may be wrong."""
    trained = runner.train_dataloader.dataset
    sides, overlap = [side_of(trained, 'train_dataloader.dataset')], []
    if validation is not None:
        where, validated = 'val_dataloader.dataset', validation.dataloader.dataset
        sides.append(side_of(validated, where))
        overlap = [*doubts_of_overlap(trained, validated, where)]
    of_teacher = as_names(getattr(teacher_of(model), 'classes', None))
    sides.append(Side('model.teacher.checkpoint', of_teacher))
    counts = (getattr(part, 'num_classes', None) for part in (model.head, model.backbone))
    compare_sides(sides, next((count for count in counts if isinstance(count, int)), None))
    for doubt in (*doubts(sides), *overlap):
        runner.logger.warning(doubt)


def check_later_mixing(runner: Runner, model: Any) -> None:
    """Refuse recipes of ``SwitchRecipeHook`` that mix later what a term needs unmixed."""
    mixing = [
        epoch
        for hook in runner.hooks
        if isinstance(hook, SwitchRecipeHook)
        for epoch, recipe in hook.schedule.items()
        if recipe.get('batch_augments')
    ]
    refuse(
        f'model.losses.{name} needs one hard label a sample, but SwitchRecipeHook mixes them from '
        f'epoch {mixing[0]} on (batch_augments): leave out one of the two'
        for name, term in getattr(model, 'loss_modules', {}).items()
        if mixing and getattr(term, 'needs_hard_labels', False) and not term.needs_unmixed
    )


def check_images(model: Any, inputs: Tensor) -> None:
    """Refuse a teacher that changes images or is random, and images that it was not made for."""
    teacher = teacher_of(model)
    if teacher is None:
        return
    check_channels(teacher, inputs)
    check_units(teacher, inputs, 'model.teacher')
    asked = teacher.from_student(inputs)
    answers = check_untouched(teacher.logits, asked, 'model.teacher')
    check_steady(teacher.logits, asked, answers)
    for name, term in model.loss_modules.items():
        if hasattr(term, 'attack'):
            check_bounds(term, teacher, inputs, f'model.losses.{name}')


def check_batch_norm(model: Any, size: int) -> None:
    """Refuse batches too small for BatchNorm of the student to be asked about a part of them."""
    # one may be frozen in training mode too
    if any(isinstance(each, _BatchNorm) and each.training for each in model.train().modules()):
        for name, term in getattr(model, 'loss_modules', {}).items():
            try:
                getattr(term, 'check_batch_size', lambda _: None)(size)
            except ConfigError as error:
                raise ConfigError(f'model.losses.{name}: {error}') from error


def teacher_of(model: Any) -> Any:
    """The teacher of a distiller; None of other models."""
    teacher = getattr(model, 'teacher', None)
    return teacher if hasattr(teacher, 'from_student') else None


def try_learning(runner: Runner, model: Any, inputs: Tensor, data_samples: list[Any]) -> None:
    """Refuse images that do not pass through a model in training, forward or backward."""
    given, wrapper = inputs.clone(), runner.optim_wrapper
    is_built = isinstance(wrapper, OptimWrapper)  # some runners have no optimizer yet
    try:
        with wrapper.optim_context(runner.model) if is_built else nullcontext():
            losses = getattr(model.train(), 'try_terms', model.loss)(inputs, data_samples)
        loss, _ = BaseModel.parse_losses(model, losses)
        if not loss.requires_grad:
            raise ConfigError(
                'model: no parameter of it learns, since none has a gradient: correct frozen_stages'
            )
        loss.backward()
    except Exception as error:  # any layer or loss may refuse them in its own way
        if isinstance(error, ConfigError) or not is_of_input(error):
            raise
        raise ConfigError(refusal(runner, inputs, data_samples, reason_of(error))) from error
    if teacher_of(model) is not None and not torch.equal(given, inputs):
        raise ConfigError(f'model {CHANGES_INPUTS}')


def refusal(runner: Runner, inputs: Tensor, data_samples: list[Any], reason: str) -> str:
    """What to say of images that do not pass."""
    config = runner.cfg
    if len(inputs) == 1 and OF_ONE in reason:
        size = runner.train_dataloader.batch_size
        return (
            f'train_dataloader.batch_size={size} leaves a batch of one image, which does not pass '
            f'the model in training ({reason}): set train_dataloader.drop_last=True, or take '
            'another batch_size'
        )
    if 'cal_acc' in reason:
        return (
            'model.head.cal_acc=True counts images whose one label is right, but batch_augments '
            'mixes labels: leave out one of the two'
        )
    given = [
        f'model.{part}.{key}={config.model[part][key]}'
        for part, keys in SETTINGS.items()
        for key in keys
        if key in (config.model.get(part) or ())
    ]
    preprocessor = unwrap(runner.model).data_preprocessor
    if any('gt_score' in each for each in data_samples):
        given.append(f'data_preprocessor.num_classes={getattr(preprocessor, "num_classes", None)}')
    elif not any('gt_label' in each for each in data_samples):
        given = ['train_dataloader.dataset, whose images have no labels']
    shape = ', '.join(map(str, inputs.shape[1:]))
    return (
        f'model: images of shape ({shape}) do not pass in training ({reason}): correct '
        f'{", ".join(given) or "it"} or the images'
    )
