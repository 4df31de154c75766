"""Teachers of torchvision: by name, with published weights or a file of one's own."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from mmbss.engine.build import suggest
from mmbss.engine.errors import ConfigError, FileError, naming
from mmbss.engine.finite import non_finite
from mmbss.teachers.sources.source import Source
from mmbss.teachers.sources.weights import fill, read_weights

#: Networks that normalise once more where their weights are published ones.
RENORMALISING = ('googlenet', 'inception_v3')
#: Arguments that the builder of a network takes, and its class does not.
OF_BUILDERS = dict(MobileNetV3=('width_mult', 'reduced_tail', 'dilated'))


def load(name: str, checkpoint: str | None, arguments: dict[str, Any]) -> Source:
    """Build a classifier of torchvision and load its weights.

    Mean, deviation, size and interpolation are those of ``weights.transforms()``, also with a
    file of one's own, which is taken to be trained like the published ones.

    Args:
        name: ``'resnet50'``, see ``torchvision.models.list_models(module=torchvision.models)``.
        checkpoint: A state dict of that model. None: the published weights.
        arguments: Of its builder, such as ``num_classes``; ``weights`` names published ones
            (``'IMAGENET1K_V1'``), and those that the checkpoint is where its name does not tell.

    Raises:
        MissingFileError: If there is no such file.
        FileError: If the weights cannot be downloaded.
        ConfigError: If there is no such model or weights, it takes no such arguments, or the
            weights do not fit.
    """
    import torchvision.models

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        meant = suggest(name, names, 3).rstrip('.')
        raise ConfigError(f'teacher.config: torchvision has no classifier {name!r}{meant}')
    known = torchvision.models.get_model_weights(name)
    published = _published(known, name, checkpoint, arguments.pop('weights', None))
    source = f'torchvision:{name}'
    classes = None
    if published is None:
        assert checkpoint is not None
        if name in RENORMALISING and 'transform_input' not in arguments:
            raise ConfigError(
                f'teacher.arguments.transform_input: say whether the {name} in {checkpoint} '
                'normalises its input once more (True where it goes back to published weights)'
            )
        with naming(source):
            options = dict(init_weights=False) if name in RENORMALISING else {}
            model = torchvision.models.get_model(name, weights=None, **options, **arguments)
        state, classes = read_weights(checkpoint)
        fill(model, state, checkpoint)
        transforms = known.DEFAULT.transforms()
    else:
        state = _read(published, checkpoint)
        # the builder knows what these weights ask for: other sizes, older names, no extra outputs
        with (
            naming(source),
            mock.patch.object(type(published), 'get_state_dict', return_value=state),
        ):
            model = torchvision.models.get_model(name, weights=published, **arguments)
        if broken := non_finite(model.state_dict()):
            raise ConfigError(f'{source} got NaN or infinity in {broken[0]}')
        transforms = published.transforms()
        classes = tuple(published.meta['categories'])
    # some of its models swallow any argument
    of_builder = OF_BUILDERS.get(type(model).__name__, ())
    if unknown := {*arguments} - {*inspect.signature(type(model)).parameters, *of_builder}:
        raise ConfigError(f'teacher.arguments: {name} knows no {", ".join(sorted(unknown))}')
    size = arguments.get('image_size', transforms.crop_size[0])
    return Source(
        model.eval(),
        num_classes=arguments.get('num_classes', 1000),
        mean=[255 * value for value in transforms.mean],
        std=[255 * value for value in transforms.std],
        channels='rgb',
        input_size=(size, size),
        interpolation=transforms.interpolation.value,
        classes=classes,
    )


def _published(known: Any, name: str, checkpoint: str | None, said: Any) -> Any:
    """Which of the published weights are meant, None for a file of one's own."""
    if said is not None:
        wanted = str(said).rpartition('.')[2]
        if wanted not in known.__members__:
            raise ConfigError(
                f'teacher.arguments.weights={said!r}: {name} has {", ".join(known.__members__)}'
            )
        return known[wanted]
    if checkpoint is None:
        return known.DEFAULT
    file = Path(checkpoint).name
    return next((weights for weights in known if Path(weights.url).name == file), None)


def _read(published: Any, checkpoint: str | None) -> Mapping[str, Any]:
    if checkpoint is not None:
        return read_weights(checkpoint)[0]
    try:
        return read_weights(published.url)[0]
    except ConfigError as error:
        raise FileError(
            f'{error}: without a connection give a local file as teacher.checkpoint'
        ) from error
