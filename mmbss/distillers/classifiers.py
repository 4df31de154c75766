"""What teacher and student have in common: plain mmpretrain image classifiers with logits."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.models import BaseClassifier, ImageClassifier, MultiLabelClsHead, MultiTaskHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.attacks.functional import Bounds
from mmbss.engine.build import accepted_keys, lookup
from mmbss.engine.errors import ConfigError, MissingFileError, one_line
from mmbss.registry import MODELS

#: Arguments that a distiller has beyond those of the classifier it is.
DISTILLER_KEYS = ('teacher', 'losses', 'boundary', 'acceleration')


def plain_classifier(model: dict[str, Any]) -> dict[str, Any]:
    """Turn the model config of a distiller into that of the student alone.

    Any other model config comes back unchanged, so a distilled student can be a teacher, and
    can be tested where its teacher is not at hand.
    """
    if not any(key in model for key in DISTILLER_KEYS):
        return dict(model)
    own = {*DISTILLER_KEYS, *keys_beyond(lookup(MODELS, model.get('type')))}
    student = {key: value for key, value in model.items() if key not in own}
    return dict(student, type='mmpretrain.ImageClassifier')


def keys_beyond(kind: Any) -> set[str]:
    """Arguments that a class has beyond those of the ``ImageClassifier`` that it derives from."""
    kinds = getattr(kind, '__mro__', ())
    if ImageClassifier not in kinds:  # or it is not registered here
        return set()
    beyond = kinds[: kinds.index(ImageClassifier)]
    return {key for each in beyond for key in accepted_keys(each)} - {
        *accepted_keys(ImageClassifier)
    }


def load_model_config(config: str | dict[str, Any], where: str = 'config') -> dict[str, Any]:
    """Read the model of a classifier's config.

    Args:
        config: ``'package::folder/name.py'``, a path to a config file, or a model config.
        where: Where it was given, for a message.

    Returns:
        The config of a plain classifier, with the file's ``data_preprocessor`` filled in, as
        mmengine's runner does.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If the file has no ``model``.
    """
    if isinstance(config, dict):
        return plain_classifier(config)
    if '::' in config:
        # mmengine knows how to find a package's configs when they are inherited
        try:
            file = Config.fromstring(f'_base_ = {config!r}', '.py')
        except (AssertionError, FileNotFoundError, ModuleNotFoundError) as error:
            raise MissingFileError(f'{where}: no config {config!r}: {error}') from error
    elif Path(config).is_file():
        file = Config.fromfile(config)
    else:
        raise MissingFileError(
            f'{where}: no file {config!r}; give a path, "mmpretrain::folder/name.py" or a model '
            'dict'
        )
    if 'model' not in file:
        raise ConfigError(f'{where}: {config} defines no model')
    model = plain_classifier(file.model.to_dict())
    if file.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', file.data_preprocessor.to_dict())
    return model


def check_single_label_logits(model: nn.Module, role: str) -> None:
    """Refuse a model that does not put out one logit a class.

    What a module that is no ``ImageClassifier`` puts out is seen when it is asked.

    Args:
        model: The classifier.
        role: ``'teacher'`` or ``'student'``, for the message.

    Raises:
        ConfigError: If it has no head, or a multi-label or multi-task one, or the student is no
            classifier.
    """
    if not isinstance(model, ImageClassifier):
        if role == 'student' and not isinstance(model, BaseClassifier):
            raise ConfigError(f'the student must be a classifier, got {type(model).__name__}')
        return
    head = model.head
    if head is None:
        raise ConfigError(f'the {role} has no head, so no logits to distil: add one to its config')
    if isinstance(head, (MultiLabelClsHead, MultiTaskHead)):
        raise ConfigError(
            f'the {role} has a {type(head).__name__}; distillation at the boundary needs a head '
            'with one softmax over the classes, such as LinearClsHead'
        )


def num_classes(model: nn.Module) -> int | None:
    """Number of classes of a classifier, None where it does not say it.

    Those of mmpretrain say it in their head or backbone, those of timm and Hugging Face in the
    ``model`` that mmpretrain wraps.
    """
    wrapped = getattr(model, 'model', None)
    for part, name in (
        *((getattr(model, part, None), 'num_classes') for part in ('head', 'backbone')),
        *((each, 'num_classes') for each in (wrapped, model)),
        (getattr(wrapped, 'config', None), 'num_labels'),
    ):
        count = getattr(part, name, None)
        if isinstance(count, int) and count > 0:
            return count
    return None


def check_same_classes(student: int | None, teacher: int | None, name: str = 'the student') -> None:
    """Refuse a student with another number of classes than its teacher, where both are known.

    Args:
        student: Its number of classes.
        teacher: That of the teacher.
        name: What to call the student in a message.

    Raises:
        ConfigError: With both numbers.
    """
    if student is not None and teacher is not None and student != teacher:
        raise ConfigError(
            f'{name} has {student} classes, the teacher {teacher}: give both the same '
            'classes, for instance by fine-tuning the teacher on your data first'
        )


def normalisation(preprocessor: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (C, 1, 1) or (1, 1, 1) in pixel units [0, 255]."""
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if not isinstance(mean, Tensor) or not isinstance(std, Tensor):
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    return mean.detach().float().cpu(), std.detach().float().cpu()


def pixel_bounds(preprocessor: nn.Module, device: torch.device) -> Bounds:
    """Pixels 0 and 255 as a data preprocessor normalises them, (C, 1, 1) or (1, 1, 1) each.

    Raises:
        ConfigError: See :func:`check_normalisation`.
    """
    check_normalisation(preprocessor)
    mean, std = (each.to(device) for each in normalisation(preprocessor))
    return (0 - mean) / std, (255 - mean) / std


def check_normalisation(
    preprocessor: nn.Module, where: str = 'data_preprocessor', keeps_places: bool = False
) -> None:
    """Refuse a data preprocessor that does something else than :func:`normalisation` says.

    It is tried, since what it derives from does not tell what its ``forward`` does.

    Args:
        preprocessor: Any, such as one of somebody's own.
        where: Its path in the config.
        keeps_places: Whether pixels also have to stay where they are, but for what is added to the
            right and below; else it may resize and crop.

    Raises:
        ConfigError: If it makes other values of pixels.
    """
    mean, std = normalisation(preprocessor)
    channels = len(mean) if len(mean) > 1 else 3
    grey = torch.tensor([0, 51, 255]).view(3, 1, 1, 1).expand(3, channels, 64, 64)
    ramp = torch.arange(256).view(1, 1, 16, 16).expand(1, channels, 16, 16)
    pixels = ramp if keeps_places else grey
    expected = (pixels - mean) / std
    kind, reason = type(preprocessor).__name__, ''
    for inputs in (pixels.byte(), [*pixels.byte()]):  # it may take one of what loaders give
        try:
            made = _passed(preprocessor, inputs)
        except Exception as error:  # somebody's own code
            reason = f' ({one_line(error)})'
            continue
        if keeps_places:
            found, wanted = made[..., :16, :16], expected
        else:
            found, wanted = made[..., made.shape[-2] // 2, made.shape[-1] // 2], expected[..., 0, 0]
        if found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-3, atol=1e-3):
            return
    raise ConfigError(
        f'{where}: {kind} does something else to pixels than subtract its mean and divide by its '
        f'std{reason}, so what is given or exported in pixels would be wrong: take '
        'ClsDataPreprocessor with mean and std in pixels of [0, 255], such as mean=[0.0], '
        'std=[255.0] to divide by 255, and do the rest in the pipeline'
    )


def _passed(preprocessor: nn.Module, inputs: Any) -> Tensor:
    classes = getattr(preprocessor, 'num_classes', None) or 1
    samples = [
        DataSample(metainfo=dict(num_classes=classes)).set_gt_label(0) for _ in range(len(inputs))
    ]
    made = preprocessor(dict(inputs=inputs, data_samples=samples), False)
    return made['inputs'].float().cpu()
