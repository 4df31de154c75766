"""The teacher: taken as it is where its classes are those of the images, else trained on them."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmbss.distil.networks import NAMES, NO_WEIGHTS, OWN_WEIGHTS, NetworkConfig, network_of
from mmbss.engine.build import accepted_keys
from mmbss.engine.class_names import as_names
from mmbss.engine.errors import ConfigError, first_of
from mmbss.teachers import Teacher
from mmbss.teachers.sources import Source, load_source

#: What may be a key of the teacher.
KEY = re.compile(r'\bteacher\.[a-z_]+')
#: Sources that can be fine-tuned, since they have a backbone to put another head on.
TUNABLE = ('timm:',)


@dataclass(frozen=True)
class TeacherChoice:
    """Which teacher is asked.

    Attributes:
        about: What it is, and why, for comments and the plan.
        entry: The ``teacher`` of a distiller, None where it is trained first.
        network: What is trained first, None where it is taken as it is.
        has_gradient: Whether its logits have one.
    """

    about: str
    entry: dict[str, Any] | None
    network: NetworkConfig | None
    has_gradient: bool = True


def choose_teacher(
    name: str,
    weights: str | None,
    further: dict[str, Any],
    classes: Sequence[str],
    size: int,
) -> TeacherChoice:
    """Find out whether a teacher knows the classes of the images.

    Args:
        name: What ``--teacher`` says.
        weights: What ``--teacher-checkpoint`` says.
        further: Further keys of the ``teacher`` of a distiller by dotted key, such as
            ``input_size`` and ``arguments.num_classes``.
        classes: Names of the classes of the images in their order.
        size: Pixels on a side of what networks see.

    Raises:
        MissingFileError: If there is no such network or file.
        ConfigError: If its classes are others and it cannot be fine-tuned.
    """
    is_file = weights not in (None, NO_WEIGHTS, OWN_WEIGHTS)
    is_named = name.replace('-', '_').lower() in NAMES
    is_config = not is_named and (Path(name).suffix == '.py' or '::' in name)
    is_tunable = is_named or is_config or name.startswith(TUNABLE)
    if not is_tunable or (is_file and not is_named) or further:
        options = Config()
        options.merge_from_dict(further)  # KEY.SUBKEY
        entry: dict[str, Any] = dict(config=name, **options.to_dict())
        if is_file:
            entry['checkpoint'] = weights
        if weights == NO_WEIGHTS:
            raise ConfigError(f'--teacher-checkpoint none: {name} would say anything: leave it out')
        with naming_options():
            source = load_source(name, weights if is_file else None, entry.get('arguments'))
        if named := as_names(entry.get('classes')):
            source = replace(source, classes=named)
        reason = why_not(source, classes)
        if reason is None:
            known = 'its classes are those of the images'
            if source.classes is None:
                known = f'its {source.num_classes or "unnamed"} classes are taken to be those of '
                known += 'the images in alphabetical order'
            about = f'{name}, taken as it is: {known}'
            return TeacherChoice(about, entry, None, source.differentiable)
        if not is_tunable or further:
            raise ConfigError(
                f'--teacher {name}: {reason}, and it cannot be fine-tuned here: give a config of '
                f'mmpretrain, timm:NAME, or one of {", ".join(NAMES)}'
            )
    if weights is None and name.startswith(TUNABLE):
        weights = OWN_WEIGHTS
    network = network_of(name, weights, len(classes), size)
    verb = 'fine-tuned on' if network.is_pretrained else 'trained first, on'
    return TeacherChoice(f'{network.about}; {verb} the images', None, network)


@contextmanager
def naming_options() -> Iterator[None]:
    """Say beside a mistake in the keys of a teacher how they are given here.

    Raises:
        ConfigError: In place of one that names such a key.
    """
    try:
        yield
    except ConfigError as error:
        keys = accepted_keys(Teacher)
        if not any(each.rpartition('.')[2] in keys for each in KEY.findall(str(error))):
            raise
        raise ConfigError(f'{error}; --teacher-options KEY=VALUE sets keys of it') from error


def why_not(source: Source, classes: Sequence[str]) -> str | None:
    """Why a network cannot answer about these classes in this order, None where it can."""
    if source.num_classes not in (None, len(classes)):
        return f'it has {source.num_classes} classes, the images {len(classes)}'
    if source.classes is None or [*source.classes] == [*classes]:
        return None
    if {*source.classes} == {*classes}:
        return f'its classes come in another order ({first_of(source.classes)})'
    return f'its classes are others ({first_of(source.classes)})'
