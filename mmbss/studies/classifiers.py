"""Classifiers built from a config, and filled from a checkpoint."""

import copy
from typing import Any

import torch
from mmengine.registry import DefaultScope
from mmpretrain.models import BaseClassifier

from mmbss.engine.class_names import as_names
from mmbss.engine.errors import ConfigError, naming
from mmbss.engine.files.checkpoint_reading import read_checkpoint, trained_classes
from mmbss.engine.models import load_strictly
from mmbss.engine.trial.sides import Side, compare_sides
from mmbss.registry import MODELS
from mmbss.teachers.classifiers import load_model_config, read_model_file
from mmbss.teachers.trained_normalisation import check_trained_normalisation

#: What tables call the teacher.
TEACHER = 'teacher'
#: A config and a checkpoint, by these keys.
Network = dict[str, Any]


def build_classifier(config: str | dict[str, Any]) -> BaseClassifier:
    """Build the plain classifier of a config, of a distiller the student, with fresh weights.

    Args:
        config: See :func:`~mmbss.teachers.classifiers.load_model_config`.

    Raises:
        MissingFileError: If there is no such config.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(copy.deepcopy(load_model_config(config)))


def load_classifier(network: Network, name: str, classes: Any = None) -> BaseClassifier:
    """Build the plain classifier of a config, in eval mode, on a GPU if there is one.

    Args:
        network: ``config``, and ``checkpoint``, of any kind that
            :mod:`mmbss.engine.files.checkpoint_reading` reads.
        name: What to call it in a message.
        classes: Names of the classes of the data, None where these are not known.

    Raises:
        MissingFileError: If the config or the checkpoint does not exist.
        ConfigError: If the model cannot be built, or the checkpoint does not fit, or was trained
            with other classes, or by its config file with another normalisation.
    """
    config, checkpoint = network['config'], network['checkpoint']
    try:
        content = read_checkpoint(checkpoint)
    except ConfigError as error:
        raise type(error)(f'{name}: {error}') from error
    with naming(f'{name}: model'):
        model = build_classifier(config)
    model_of = 'its model' if isinstance(config, dict) else config
    where = f'{name}: {checkpoint} does not fit {model_of}'
    load_strictly(model, content.get('state_dict', content), where)
    meta = content.get('meta')
    trained = Side(f'{name}: {checkpoint}', trained_classes(meta))
    compare_sides([trained, Side('the data', as_names(classes))], None)
    if isinstance(config, str):
        check_trained_normalisation(read_model_file(config, name), model, meta, checkpoint)
    return on_device(model)


def on_device(model: BaseClassifier) -> BaseClassifier:
    """The model in eval mode, on a GPU if there is one."""
    return model.to('cuda' if torch.cuda.is_available() else 'cpu').eval()
