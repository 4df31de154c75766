"""A trained student, and what is known of it: its classes, and what it takes and gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from torch import Tensor

from mmbss.engine.class_names import as_names, moved_name
from mmbss.engine.errors import ConfigError, first_of
from mmbss.engine.files.checkpoint_reading import read_checkpoint, trained_classes
from mmbss.engine.finite import non_finite
from mmbss.engine.pipelines import transforms_of
from mmbss.export.deployed import Interface
from mmbss.export.formats import Ask, as_ask
from mmbss.export.plain_config import without_pretrained
from mmbss.export.real_images import RealImages, channels_of, swaps_channels
from mmbss.studies.classifiers import load_classifier
from mmbss.teachers.classifiers import check_single_label_logits
from mmbss.teachers.normalisation import normalisation
from mmbss.teachers.trained_normalisation import check_trained_normalisation


def load_student(cfg: Config, checkpoint: str | Path) -> tuple[ImageClassifier, dict[str, Any]]:
    """The plain classifier of a config with its weights, in eval mode on the CPU.

    Returns:
        The classifier, and what the checkpoint says beside its weights; empty where it says
        nothing.

    Raises:
        MissingFileError: If there is no such checkpoint.
        ConfigError: If the config has no model, or the checkpoint does not fit, is not finite or
            was trained with another normalisation.
    """
    if 'model' not in cfg:
        raise ConfigError(f'config {cfg.filename} defines no model')
    given = without_pretrained(cfg.model.to_dict())
    if cfg.get('data_preprocessor') is not None:
        given.setdefault('data_preprocessor', cfg.data_preprocessor.to_dict())
    model = load_classifier(dict(config=given, checkpoint=checkpoint), cfg.filename or 'export')
    check_single_label_logits(model, 'student')
    if broken := non_finite(model.state_dict()):
        raise ConfigError(f'{checkpoint} holds NaN or infinity in {broken[0]}: take another')
    meta = read_checkpoint(checkpoint).get('meta')
    meta = meta if isinstance(meta, dict) else {}
    check_trained_normalisation(cfg, model, meta, checkpoint)
    return model.cpu(), meta


def class_names(
    given: Sequence[str] | None, meta: Mapping[str, Any], images: RealImages, count: int | None
) -> tuple[str, ...]:
    """Names of the classes: those that the user gives, or those of checkpoint and data.

    Args:
        given: By the user.
        meta: Of the checkpoint, see :func:`load_student`; may name those that it was trained on.
        images: May name them, too.
        count: How many the network knows, None where it does not say it.

    Raises:
        ConfigError: If nobody names them, they contradict each other, or are too few or too many.
    """
    trained = trained_classes(meta)
    if given is None and trained and images.classes and trained != images.classes:
        raise ConfigError(
            f'the checkpoint was trained on the classes {first_of(trained, 6)}, the test data has '
            f'{first_of(images.classes, 6)}: test with the data of the training'
        )
    known = trained or images.classes
    names = (as_names([*given]) or ()) if given is not None else known
    if names is None:
        raise ConfigError(
            'neither the checkpoint nor the test data names the classes: set '
            'test_dataloader.dataset.metainfo=dict(classes=[...]), or export with --classes'
        )
    check_names(names, count)
    if moved := moved_name(names, known or ()):
        name, known_as, given_as = moved
        raise ConfigError(
            f'--classes has the names in another order than checkpoint and data, '
            f'{first_of(known or (), 6)}: {name} is class {known_as} there and {given_as} here, '
            'counted from 0: leave it out, or give names in that order'
        )
    return names


def check_names(names: Sequence[str], count: int | None) -> None:
    """Refuse names of classes that are not one line each, or too few or too many.

    Args:
        names: Of the classes.
        count: How many the network knows, None where it does not say it.

    Raises:
        ConfigError: With the names.
    """
    if not all(len(name.splitlines()) == 1 and name.strip() for name in names):
        raise ConfigError(f'names of classes must be of one line and not empty: {[*names]}')
    if count not in (None, len(names)):
        raise ConfigError(
            f'{len(names)} names of classes, {first_of(names, 6)}, for {count} logits'
        )


def interface_of(
    cfg: Config,
    model: ImageClassifier,
    images: RealImages,
    classes: tuple[str, ...],
    channels: str | None = None,
) -> tuple[Interface, str | None]:
    """What a student takes and gives, and what had to be assumed.

    Args:
        cfg: Its config.
        model: The student.
        images: Its test images.
        classes: Names of its classes.
        channels: What the user says of their order.

    Raises:
        ConfigError: If what the user says contradicts the config.
    """
    count, height, width = images.pixels.shape[1:]
    order, assumed = channels_of(transforms_of(cfg), model.data_preprocessor, count, channels)
    # as they are written, not as float32 holds them, which is the same once they are float32 again
    mean, std = (
        tuple(float(f'{value:.7g}') for value in part.flatten().tolist())
        for part in normalisation(model.data_preprocessor)
    )
    return Interface(classes, order, height, width, mean, std), assumed


def student_of(model: ImageClassifier) -> Ask:
    """Logits of pixels, through the student's own data preprocessor."""

    def ask(pixels: Tensor) -> Tensor:
        preprocessor = model.data_preprocessor
        given = pixels.flip(1) if swaps_channels(preprocessor, pixels.shape[1]) else pixels
        return model(preprocessor(dict(inputs=given), False)['inputs'], mode='tensor')

    return as_ask(ask)
