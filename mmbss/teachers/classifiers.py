"""What teacher and student have in common: plain mmpretrain image classifiers with logits."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmpretrain.models import BaseClassifier, ImageClassifier, MultiLabelClsHead, MultiTaskHead
from torch import nn

from mmbss.engine.build import accepted_keys, lookup
from mmbss.engine.cli.config import read_config
from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.engine.files.parsing import PARSING
from mmbss.registry import MODELS

#: Arguments that a distiller has beyond those of the classifier it is.
DISTILLER_KEYS = ('teacher', 'losses', 'acceleration')


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


def load_model_config(config: str | dict[str, Any]) -> dict[str, Any]:
    """Read the model of a classifier's config.

    Args:
        config: ``'package::folder/name.py'``, a path to a config file, or a model config.

    Returns:
        The config of a plain classifier, with the file's ``data_preprocessor`` filled in, as
        mmengine's runner does.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If the file cannot be read, or has no ``model``.
    """
    if isinstance(config, dict):
        return plain_classifier(config)
    return model_of(read_model_file(config))


def read_model_file(config: str, where: str = 'config') -> Config:
    """Read the config file of a classifier; see :func:`load_model_config`.

    Raises:
        MissingFileError: If there is no such file.
        ConfigError: If the file cannot be read, or has no ``model``.
    """
    if '::' in config:
        # inherited, so that mmengine notes the scope of the package in its parts
        try:
            with PARSING:
                file = Config.fromstring(f'_base_ = {config!r}', '.py')
        except (AssertionError, FileNotFoundError, ModuleNotFoundError) as error:
            raise MissingFileError(f'{where}: no config {config!r}: {error}') from error
        file = Config(file.to_dict(), file.text, config)
    elif Path(config).is_file():
        file = read_config(config, where)
    else:
        raise MissingFileError(
            f'{where}: no file {config!r}; give a path, "mmpretrain::folder/name.py" or a model '
            'dict'
        )
    if 'model' not in file:
        raise ConfigError(f'{where}: {config} defines no model')
    return file


def model_of(file: Config) -> dict[str, Any]:
    """The plain classifier of a config, with the file's ``data_preprocessor``."""
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
