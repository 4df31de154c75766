"""Whether a config normalises images as the training of a checkpoint did, where that says it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from mmbss.engine.errors import ConfigError
from mmbss.engine.fingerprint import leaves

Numbers = tuple[float, ...]

#: Where a data preprocessor stands; that of the model comes first, as in mmengine.
PLACES = ('model.data_preprocessor', 'data_preprocessor')
#: Data preprocessors that normalise alike; '' stands for the default, which is the first.
PLAIN = ('ClsDataPreprocessor', 'AugmentingDataPreprocessor', '')
#: What these do where nothing is set.
DEFAULTS: dict[str, Numbers] = dict(mean=(0.0,), std=(1.0,), to_rgb=(0.0,))
#: Characters of a list of numbers, at most: a checkpoint may hold anything.
LONGEST = 200
#: Stands for a setting that is no text.
STRANGE = '?'


def check_trained_normalisation(
    cfg: Config, model: nn.Module, meta: Any, checkpoint: str | Path
) -> None:
    """Refuse a config whose mean, std or order of channels are not those of the training.

    What a checkpoint does not say, or in a way that nobody knows, is not compared. Nor is
    ``to_rgb`` where one of the two reads files and the other arrays, whose order is another one,
    or where the model takes no three channels.

    Args:
        cfg: A whole config; that of a distiller and a plain one will do.
        model: What was built of it.
        meta: Of the checkpoint; may be anything.
        checkpoint: What to call it.

    Raises:
        ConfigError: With both values.
    """
    fingerprint = meta.get('fingerprint') if isinstance(meta, dict) else None
    if not isinstance(fingerprint, dict):
        return
    trained = {
        key: value if isinstance(value, str) else STRANGE
        for key, value in fingerprint.items()
        if isinstance(key, str)
    }
    if not any(key.startswith(('model.', 'data_preprocessor.')) for key in trained):
        return
    own = own_settings(cfg)
    before, now = normalisation_in(trained), normalisation_in(own)
    names = [
        name
        for name in DEFAULTS
        if name in before and name in now and not are_same(before[name], now[name])
    ]
    # the order of arrays is that of whoever wrote them, that of files OpenMMLab's
    if 'to_rgb' in names and (
        channels_taken(model) not in (None, 3)
        or reads_files(trained, 'train_dataloader.') != reads_files(own, 'test_dataloader.')
    ):
        names.remove('to_rgb')
    if names:
        here, there = (
            ', '.join(f'{name}={in_words(name, side[name])}' for name in names)
            for side in (now, before)
        )
        raise ConfigError(
            f'{cfg.filename or "the config"}: data_preprocessor has {here}, but {checkpoint} was '
            f'trained with {there}: take the config of its training, or set them so'
        )


def own_settings(cfg: Config) -> dict[str, str]:
    """Data preprocessor and test data of a config by path, as text, as a fingerprint has them."""
    model: Any = cfg.get('model') or {}
    while isinstance(model, Mapping) and isinstance(model.get('module'), Mapping):
        model = model['module']  # within what averages over augmented images
    own = model.get('data_preprocessor') if isinstance(model, Mapping) else None
    parts = {
        PLACES[0]: own,
        PLACES[1]: cfg.get('data_preprocessor'),
        'test_dataloader': cfg.get('test_dataloader') or cfg.get('val_dataloader'),
    }
    return {path: text for name, part in parts.items() for path, text in leaves(part, name)}


def normalisation_in(settings: Mapping[str, str]) -> dict[str, Numbers]:
    """Mean, std and ``to_rgb`` that settings give to a network; without those nobody knows.

    Examples:
        >>> normalisation_in({'data_preprocessor.mean': '[77.9]', 'data_preprocessor.std': '[9]'})
        {'mean': (77.9,), 'std': (9.0,), 'to_rgb': (0.0,)}
        >>> normalisation_in({'data_preprocessor.type': "'mine.Unit'"})  # who knows what it does
        {}
    """
    if any(place in settings for place in PLACES):  # it is no dict
        return {}
    place = next(
        (each for each in PLACES if any(path.startswith(f'{each}.') for path in settings)),
        PLACES[1],
    )
    kind = settings.get(f'{place}.type', '').strip("'").rpartition('.')[2]
    if kind not in PLAIN:
        return {}
    texts = {name: settings.get(f'{place}.{name}') for name in DEFAULTS}
    if texts['mean'] is None:
        texts['std'] = None  # it is not used
    found = {
        name: DEFAULTS[name] if text is None else numbers_in(text) for name, text in texts.items()
    }
    return {name: numbers for name, numbers in found.items() if numbers is not None}


def numbers_in(text: str) -> Numbers | None:
    """Numbers of a setting, None where it is anything else.

    Examples:
        >>> numbers_in('[77.9, 3]'), numbers_in('True'), numbers_in('Tensor'), numbers_in('[nan]')
        ((77.9, 3.0), (1.0,), None, None)
    """
    if len(text) > LONGEST:
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
    size = max(len(one), len(other))
    one, other = (each * size if len(each) == 1 else each for each in (one, other))
    return len(one) == len(other) and all(
        math.isclose(this, that, rel_tol=1e-5, abs_tol=1e-5)
        for this, that in zip(one, other, strict=True)
    )


def channels_taken(model: nn.Module) -> int | None:
    """Channels of the images that a network takes, None where nobody knows."""
    convolutions = (each for each in model.modules() if isinstance(each, nn.Conv2d))
    return next((each.in_channels for each in convolutions), None)


def reads_files(settings: Mapping[str, str], begin: str) -> bool:
    """Whether a pipeline whose path begins so reads image files."""
    return any(
        path.startswith(begin) and path.endswith('.pipeline') and 'LoadImageFromFile' in text
        for path, text in settings.items()
    )


def in_words(name: str, numbers: Numbers) -> str:
    """Numbers as a config has them.

    Examples:
        >>> in_words('mean', (123.675, 0.0)), in_words('to_rgb', (1.0,))
        ('[123.675, 0]', 'True')
    """
    if name == 'to_rgb':
        return str(bool(numbers[0]))
    return f'[{", ".join(f"{value:.7g}" for value in numbers)}]'
