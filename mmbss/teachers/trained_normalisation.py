"""Whether a model normalises images as the training of its checkpoint did, where that says it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.model import BaseTTAModel
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn

from mmbss.datasets import AugmentingDataPreprocessor
from mmbss.engine.errors import ConfigError
from mmbss.engine.models import unwrap
from mmbss.engine.pipelines import reads_files, transforms_of
from mmbss.teachers.normalisation import normalisation

Numbers = tuple[float, ...]

#: Where a data preprocessor stands; that of the model comes first, as in mmengine.
PLACES = ('model.data_preprocessor', 'data_preprocessor')
#: Data preprocessors that normalise alike; the first is the default.
PLAIN = (ClsDataPreprocessor, AugmentingDataPreprocessor)
#: What these do where nothing is set.
DEFAULTS: dict[str, Numbers] = dict(mean=(0.0,), std=(1.0,), to_rgb=(0.0,))
#: Characters of a list of numbers, at most: a checkpoint may hold anything.
LONGEST = 200


def check_trained_normalisation(
    cfg: Config, model: nn.Module, meta: Any, checkpoint: str | Path
) -> None:
    """Refuse a model whose mean, std or order of channels are not those of the training.

    What a checkpoint does not say, or in a way that nobody knows, is not compared. Nor is
    ``to_rgb`` where one of the two reads files and the other arrays, whose order is another one,
    or where the model takes no three channels.

    Args:
        cfg: A whole config; that of a distiller and a plain one will do.
        model: What was built of it, perhaps within a wrapper.
        meta: Of the checkpoint; may be anything.
        checkpoint: What to call it.

    Raises:
        ConfigError: With both values.
    """
    fingerprint = meta.get('fingerprint') if isinstance(meta, dict) else None
    network = unwrap(model)
    if isinstance(network, BaseTTAModel):  # it averages over augmented images
        network = network.module
    preprocessor: Any = getattr(network, 'data_preprocessor', None)
    if not isinstance(fingerprint, dict) or type(preprocessor) not in PLAIN:
        return
    mean, std = (tuple(part.flatten().tolist()) for part in normalisation(preprocessor))
    now = dict(mean=mean, std=std, to_rgb=(float(preprocessor.to_rgb),))
    before = normalisation_in(fingerprint)
    names = [name for name in before if not are_same(before[name], now[name])]
    # the order of arrays is that of whoever wrote them, that of files OpenMMLab's
    if 'to_rgb' in names and (
        channels_taken(model) not in (None, 3)
        or trained_on_files(fingerprint) != reads_files(transforms_of(cfg))
    ):
        names.remove('to_rgb')
    if names:
        here, there = (
            ', '.join(f'{name}={as_text(name, side[name])}' for name in names)
            for side in (now, before)
        )
        raise ConfigError(
            f'{cfg.filename or "the config"}: data_preprocessor has {here}, but {checkpoint} was '
            f'trained with {there}: take the config of its training, or set them so'
        )


def normalisation_in(fingerprint: Mapping[Any, Any]) -> dict[str, Numbers]:
    """Mean, std and ``to_rgb`` of a training by its settings; without those nobody knows.

    Examples:
        >>> normalisation_in({'data_preprocessor.mean': '[77.9]', 'data_preprocessor.std': '[9]'})
        {'mean': (77.9,), 'std': (9.0,), 'to_rgb': (0.0,)}
        >>> normalisation_in({'data_preprocessor.type': "'mine.Unit'"})  # who knows what it does
        {}
    """
    paths = [path for path in fingerprint if isinstance(path, str)]
    tells = any(path.startswith(('model.', 'data_preprocessor.')) for path in paths)
    if not tells or any(place in paths for place in PLACES):  # one that is no dict
        return {}
    place = next(
        (each for each in PLACES if any(path.startswith(f'{each}.') for path in paths)), PLACES[1]
    )
    kind = str(fingerprint.get(f'{place}.type', PLAIN[0].__name__)).strip("'").rpartition('.')[2]
    if kind not in [each.__name__ for each in PLAIN]:
        return {}
    found = {
        name: numbers_in(fingerprint[path]) if (path := f'{place}.{name}') in paths else default
        for name, default in DEFAULTS.items()
    }
    if f'{place}.mean' not in paths:
        found['std'] = DEFAULTS['std']  # what is set is not used
    return {name: numbers for name, numbers in found.items() if numbers is not None}


def numbers_in(text: Any) -> Numbers | None:
    """Numbers of a setting, None where it is anything else.

    Examples:
        >>> numbers_in('[77.9, 3]'), numbers_in('True'), numbers_in('Tensor'), numbers_in('[nan]')
        ((77.9, 3.0), (1.0,), None, None)
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        return None
    words = {'True': '1', 'False': '0'}
    parts = [each.strip() for each in text.strip('[]()').split(',')]
    try:
        numbers = tuple(float(words.get(each, each)) for each in parts)
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def are_same(one: Numbers, other: Numbers) -> bool:
    """Whether numbers are equal for each channel but for rounding; one stands for all channels.

    Examples:
        >>> are_same((77.9,), (77.9, 77.900002, 77.9)), are_same((1.0, 2.0), (2.0, 1.0))
        (True, False)
    """
    fit = len(one) == len(other) or 1 in (len(one), len(other))
    return fit and np.allclose(one, other, rtol=1e-5, atol=1e-5)


def channels_taken(model: nn.Module) -> int | None:
    """Channels of the images that a network takes, None where nobody knows."""
    convolutions = (each for each in model.modules() if isinstance(each, nn.Conv2d))
    return next((each.in_channels for each in convolutions), None)


def trained_on_files(fingerprint: Mapping[Any, Any]) -> bool:
    """Whether a training has read image files."""
    return any(
        str(path).startswith('train_dataloader.')
        and str(path).endswith('.pipeline')
        and 'LoadImageFromFile' in str(text)
        for path, text in fingerprint.items()
    )


def as_text(name: str, numbers: Numbers) -> str:
    """Numbers as a config has them.

    Examples:
        >>> as_text('mean', (123.675, 0.0)), as_text('to_rgb', (1.0,))
        ('[123.675, 0]', 'True')
    """
    if name == 'to_rgb':
        return str(bool(numbers[0]))
    return f'[{", ".join(f"{value:.7g}" for value in numbers)}]'
