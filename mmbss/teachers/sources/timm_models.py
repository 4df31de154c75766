"""Teachers of timm: by name with published weights or a file of one's own, or from a folder."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmbss.engine.build import suggest
from mmbss.engine.errors import ConfigError, naming
from mmbss.engine.extras import named_extra
from mmbss.teachers.sources.hub import WEIGHTS, hub_folder, read_folder
from mmbss.teachers.sources.source import Source
from mmbss.teachers.sources.weights import fill, read_weights

#: Arguments of timm.create_model for which a teacher has other keys.
OWN_KEYS = ('pretrained', 'pretrained_cfg', 'pretrained_cfg_overlay', 'checkpoint_path')
HUB = ('hf-hub:', 'hf_hub:')


def load(name: str, checkpoint: str | None, arguments: dict[str, Any]) -> Source:
    """Build a model of timm and load its weights.

    Mean, deviation, size and interpolation are those of its ``pretrained_cfg``, also with a file of
    one's own, since timm trains with them unless told otherwise.

    Args:
        name: ``'resnet50'``, ``'resnet50.a1_in1k'``, ``'hf-hub:timm/resnet50.a1_in1k'``, or a
            folder that ``timm.models.save_for_hf`` wrote.
        checkpoint: A state dict of that model. None: the published weights, or the folder's.
        arguments: Of ``timm.create_model``, such as ``num_classes``.

    Raises:
        MissingFileError: If there is no such file.
        FileError: If the weights cannot be downloaded.
        ConfigError: If there is no such model, it takes no such arguments, it has no classifier
            or no published weights, or the weights do not fit.
    """
    with named_extra():
        import timm
        from timm.data import resolve_model_data_config
    if taken := [key for key in OWN_KEYS if key in arguments]:
        raise ConfigError(
            f'teacher.arguments.{taken[0]}: what a timm teacher loads is said by teacher.config '
            'and teacher.checkpoint'
        )
    folder = _folder(name)
    if folder is None and not timm.is_model(name.partition('.')[0]):
        meant = suggest(name, timm.list_models(), 3).rstrip('.')
        raise ConfigError(f'teacher.config: timm has neither a model nor a folder {name!r}{meant}')
    with naming(f'teacher.config=timm:{name}'):
        model: Any = timm.create_model(
            name if folder is None else f'local-dir:{folder}', pretrained=False, **arguments
        ).eval()
    if not model.num_classes:
        raise ConfigError(f'teacher.config: timm:{name} has no classifier, so no logits')
    published = model.pretrained_cfg
    classes = None
    if checkpoint is not None:
        state, classes = read_weights(checkpoint, 'state_dict_ema')  # as timm itself does
        where = checkpoint
    elif folder is not None:
        state, where = read_folder(folder), str(folder)
    else:
        state, where = _published_weights(name, published)
    fill(model, _renamed(state, model), where)
    wants = resolve_model_data_config(model)
    if checkpoint is None:
        classes = _class_names(published)
    # of a network that was changed to other channels timm says nothing
    channels = arguments.get('in_chans', wants['input_size'][0])
    return Source(
        model,
        num_classes=model.num_classes,
        **(normalisation_of(wants) if channels == len(wants['mean']) else {}),
        input_size=_pair(arguments.get('img_size') or wants['input_size'][1:]),
        interpolation=wants['interpolation'],
        classes=classes,
    )


def normalisation_of(wants: Mapping[str, Any]) -> dict[str, Any]:
    """Mean, deviation and order of the channels in what timm says of a model's images."""
    return dict(
        mean=[255 * value for value in wants['mean']],
        std=[255 * value for value in wants['std']],
        channels='rgb' if len(wants['mean']) == 3 else None,
    )


def _folder(name: str) -> Path | None:
    if name.startswith(HUB):
        return hub_folder(name.partition(':')[2])
    folder = Path(name).expanduser()
    return folder if (folder / 'config.json').is_file() else None


def _published_weights(name: str, published: dict[str, Any]) -> tuple[Mapping[str, Any], str]:
    if repo := published.get('hf_hub_id'):
        # of a few models, weights alone lie under another name
        file = published.get('hf_hub_filename')
        files = (file,) if file else WEIGHTS
        return read_folder(hub_folder(repo, files), files), repo
    if url := published.get('url'):
        return read_weights(url)[0], url
    raise ConfigError(
        f'teacher.config: timm has no weights of {name}, which would be random: give '
        'teacher.checkpoint'
    )


def _renamed(state: Mapping[str, Any], model: nn.Module) -> Mapping[str, Any]:
    """Weights as this version of timm names and shapes them: older files differ in some models."""
    translate = getattr(sys.modules[type(model).__module__], 'checkpoint_filter_fn', None)
    if translate is None or state.keys() == model.state_dict().keys():
        return state
    try:
        return translate(dict(state), model)
    except Exception:  # it was not made for such a file: what differs is said of its own names
        return state


def _class_names(published: dict[str, Any]) -> tuple[str, ...] | None:
    names = published.get('label_names')
    if names:
        said = published.get('label_descriptions') or {}
        return tuple(said.get(name, name) for name in names)
    if 'in1k' in (published.get('tag') or '') and published.get('num_classes') == 1000:
        from timm.data import ImageNetInfo

        return tuple(ImageNetInfo().label_descriptions())
    return None


def _pair(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return height, width
