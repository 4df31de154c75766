"""Teachers of Hugging Face: image classifiers of transformers, by name or from a folder."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError, MissingFileError, naming
from mmbss.engine.extras import named_extra
from mmbss.engine.finite import non_finite
from mmbss.teachers.sources.hub import hub_folder, read_folder
from mmbss.teachers.sources.source import Source
from mmbss.teachers.sources.weights import read_weights

PROCESSORS = ('preprocessor_config.json', 'processor_config.json')
#: Names of PIL's filters by their numbers, as far as torch resizes with them; else the nearest.
FILTERS = {0: 'bilinear', 1: 'bicubic', 2: 'bilinear', 3: 'bicubic'}
#: What transformers calls a class that nobody has named.
UNNAMED = re.compile(r'LABEL_\d+')


def load(name: str, checkpoint: str | None, arguments: dict[str, Any]) -> Source:
    """Build an image classifier of transformers and load its weights.

    Its image processor is shown images of one colour; what comes out says mean, deviation, size and
    order of the channels, whatever steps it takes.

    Args:
        name: ``'microsoft/resnet-50'``, or a folder with ``config.json``.
        checkpoint: A state dict of that model. None: that of the folder or the hub.
        arguments: Take the place of settings of ``config.json``, such as ``image_size``.

    Raises:
        MissingFileError: If there is no such folder or file.
        FileError: If the model cannot be downloaded.
        ConfigError: If it is no image classifier with one softmax, has no such settings, or the
            weights do not fit.
    """
    with named_extra():
        from transformers import AutoConfig, AutoModelForImageClassification
    local = Path(name).expanduser()
    is_local = local.is_dir() or name.startswith(('.', '/', '~'))
    if is_local and not (local / 'config.json').is_file():
        raise MissingFileError(f'teacher.config: no file config.json in {local}')
    folder = local if is_local else hub_folder(name)
    # code that lies beside a model is never run
    with naming(f'teacher.config=hf:{name}'):
        config, unknown = AutoConfig.from_pretrained(
            folder, trust_remote_code=False, return_unused_kwargs=True, **arguments
        )
        unknown.pop('trust_remote_code', None)
        if unknown:
            raise ConfigError(
                f'teacher.arguments: config.json of {name} has no setting {", ".join(unknown)}'
            )
        if config.problem_type == 'multi_label_classification':
            raise ConfigError(
                f'teacher.config: hf:{name} gives each class a yes or no of its own; a teacher '
                'needs one softmax over the classes'
            )
        model = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    where: Path | str
    if checkpoint is None:
        state, classes, where = read_folder(folder), None, folder
    else:
        (state, classes), where = read_weights(checkpoint), checkpoint
    model = _filled(type(model), config, state, where)
    if classes is None:
        names = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
        classes = None if all(map(UNNAMED.fullmatch, names)) else names
    return Source(
        model,
        ask=ask,
        num_classes=config.num_labels,
        classes=classes,
        **(_wants(folder) if getattr(config, 'num_channels', 3) == 3 else {}),
    )


def ask(network: Any, images: Tensor) -> Tensor:
    """The (N, K) logits among what a classifier of transformers returns."""
    return network(images).logits


def _filled(kind: Any, config: Any, state: Mapping[str, Any], where: Path | str) -> nn.Module:
    """A model with weights, which transformers renames where older versions have written them."""
    with _quiet(), naming(f'teacher.checkpoint: {where}'):
        model, found = kind.from_pretrained(
            None,
            config=config,
            state_dict=dict(state),
            dtype='float32',
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in ``found``, and no error that hides them
        )
    shapes = [
        f'{key} is {tuple(of_file)} instead of {tuple(own)}'
        for key, of_file, own in found['mismatched_keys']
    ]
    wrong = [
        f'{len(names)} {said} ({", ".join(sorted(names)[:3])})'
        for said, names in (
            ('missing', found['missing_keys']),
            ('left over', found['unexpected_keys']),
            ('of another shape', shapes),
        )
        if names
    ]
    if wrong:
        raise ConfigError(f'teacher.checkpoint: {where} does not fit: {"; ".join(wrong)}')
    if broken := non_finite(model.state_dict()):
        raise ConfigError(f'teacher.checkpoint: {where} holds NaN or infinity in {broken[0]}')
    return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and tables about the weights that it loads."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _wants(folder: Path) -> dict[str, Any]:
    """What the image processor in a folder makes of images; nothing where there is none.

    Returns:
        ``mean``, ``std``, ``channels``, ``input_size`` and ``interpolation`` of a :class:`Source`.
    """
    if not any((folder / name).is_file() for name in PROCESSORS):
        return {}
    from transformers import AutoImageProcessor

    with naming(f'the image processor in {folder}'):
        processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        black, white, red, grey = (
            _seen(processor, colour)
            for colour in ((0, 0, 0), (255, 255, 255), (255, 0, 0), (51, 51, 51))
        )
        is_sized = _seen(processor, (0, 0, 0), side=260).shape == black.shape
    low, high = black.mean((1, 2)), white.mean((1, 2))
    plain = all(torch.allclose(image, image[:, :1, :1], atol=1e-4) for image in (black, white))
    if not plain or not torch.allclose(grey, low.view(-1, 1, 1) * 0.8 + high.view(-1, 1, 1) * 0.2):
        raise ConfigError(
            f'the image processor in {folder} does more than to resize, cut and normalise: take '
            "the model as 'python:...', and give mean, std and input_size"
        )
    std = 255 / (high - low)
    shift = (red.mean((1, 2)) - low).abs()
    return dict(
        # beyond these digits are those of float32
        mean=[round(value, 4) for value in (-low * std).tolist()],
        std=[round(value, 4) for value in std.tolist()],
        channels='rgb' if shift.argmax() == 0 else 'bgr',
        # one that leaves sizes alone wants none of its own
        input_size=(black.shape[1], black.shape[2]) if is_sized else None,
        interpolation=FILTERS.get(int(getattr(processor, 'resample', None) or 2), 'bilinear'),
    )


def _seen(processor: Any, colour: tuple[int, int, int], side: int = 300) -> Tensor:
    """What a processor makes of a square image of one colour, (3, H, W)."""
    image = np.full((side, side, 3), colour, np.uint8)
    return processor(images=image, return_tensors='pt', input_data_format='channels_last')[
        'pixel_values'
    ][0].float()
