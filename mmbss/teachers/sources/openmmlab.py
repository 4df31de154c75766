"""Teachers of mmpretrain's configs and registry."""

import copy
from dataclasses import replace
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError, one_line
from mmbss.engine.files.checkpoint_reading import trained_classes
from mmbss.registry import MODELS
from mmbss.teachers.classifiers import (
    check_single_label_logits,
    load_model_config,
    model_of,
    num_classes,
    read_model_file,
)
from mmbss.teachers.normalisation import normalisation
from mmbss.teachers.sources.source import Source, call
from mmbss.teachers.sources.timm_models import normalisation_of
from mmbss.teachers.sources.weights import build_filled, load_weights
from mmbss.teachers.trained_normalisation import check_trained_normalisation


def load(config: str | dict[str, Any], checkpoint: str | None, arguments: dict[str, Any]) -> Source:
    """Build a model of a config, of a distiller the student, or any registered module.

    Args:
        config: See :func:`~mmbss.teachers.classifiers.load_model_config`.
        checkpoint: Its weights. None: the config names them as ``pretrained``, or the class
            fetches them itself, as mmpretrain's ``TimmClassifier`` and ``HuggingFaceClassifier``
            do with ``pretrained=True``.
        arguments: None, since they are those of the config.

    Raises:
        MissingFileError: If the config or the checkpoint does not exist.
        ConfigError: If the checkpoint does not fit, or was trained with another normalisation than
            that of the config file, the weights would be random, or the model has no logits.
    """
    if arguments:
        raise ConfigError(
            f'teacher.arguments={arguments}: those of a registered model stand in its config'
        )
    file = read_model_file(config, 'teacher.config') if isinstance(config, str) else None
    model_config = load_model_config(config) if file is None else model_of(file)
    if checkpoint is None and isinstance(model_config.get('pretrained'), str):
        checkpoint = model_config['pretrained']

    def build() -> Any:
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            return MODELS.build(copy.deepcopy(model_config))

    try:
        network = build() if checkpoint is not None else build_filled(build, _name(model_config))
    except ConfigError:
        raise
    except (ImportError, OSError) as error:  # a library, or what it would download
        raise ConfigError(f'teacher.config: {_name(model_config)}: {one_line(error)}') from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f'teacher.config: {_name(model_config)} is no module')
    check_single_label_logits(network, 'teacher')
    meta = None if checkpoint is None else load_weights(network, checkpoint)
    source = Source(
        network,
        ask=ask if isinstance(network, BaseModel) else call,
        num_classes=num_classes(network),
        classes=trained_classes(meta),
    )
    if not hasattr(network, 'data_preprocessor'):
        return source
    if model_config.get('data_preprocessor') is None:
        return replace(source, **_wants(network))
    if file is not None:
        check_trained_normalisation(file, network, meta, f'teacher.checkpoint={checkpoint}')
    preprocessor: Any = network.data_preprocessor
    mean, std = normalisation(preprocessor)
    return replace(
        source,
        mean=mean.flatten().tolist(),
        std=std.flatten().tolist(),
        to_rgb=getattr(preprocessor, 'to_rgb', False),
    )


def _wants(network: nn.Module) -> dict[str, Any]:
    """What a model of another library that mmpretrain wraps says of its images.

    Raises:
        ConfigError: If that library would normalise them, and nothing says how.
    """
    wrapped: Any = getattr(network, 'model', None)
    if type(network).__name__ == 'HuggingFaceClassifier':
        raise ConfigError(
            'teacher.config: a HuggingFaceClassifier needs its data_preprocessor=dict(mean=..., '
            "std=..., to_rgb=True), or write 'hf:NAME', which reads them"
        )
    if type(network).__name__ != 'TimmClassifier':
        return {}
    from timm.data import resolve_model_data_config

    return normalisation_of(resolve_model_data_config(wrapped))


def ask(network: Any, images: Tensor) -> Tensor:
    """The logits of a model of mmengine."""
    return network(images, mode='tensor')


def _name(model_config: dict[str, Any]) -> str:
    name = model_config.get('model_name')
    return f'{model_config.get("type")}' + (f' {name}' if name else '')
