"""Networks by name: students, and teachers that are trained or fine-tuned on the images."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmbss.distil.data import SMALL
from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.engine.extras import named_extra
from mmbss.engine.own_code import custom_imports_of
from mmbss.engine.pipelines import reads_files, transforms_of
from mmbss.export.plain_config import without_pretrained
from mmbss.teachers.classifiers import model_of, read_model_file

#: mmpretrain's config of a model by name, for large images and for small ones.
LARGE = dict(
    mobilenet_v2=('mobilenet_v2_1x', 'mobilenet_v2_1x'),
    mobilenet_v3_small=(
        'mobilenet_v3/mobilenet_v3_small_imagenet',
        'mobilenet_v3/mobilenet_v3_small_cifar',
    ),
    shufflenet_v2=('shufflenet_v2_1x', 'shufflenet_v2_1x'),
    efficientnet_b0=('efficientnet_b0', 'efficientnet_b0'),
    **{f'resnet{depth}': (f'resnet{depth}', f'resnet{depth}_cifar') for depth in (18, 34, 50)},
)
#: The CIFAR ResNets of the paper, by depth, for small images alone.
CIFAR = {f'resnet{depth}': depth for depth in (8, 14, 20, 26)}
NAMES = (*CIFAR, *LARGE)
#: Where none is named, for small images and for others: the student, and the teacher that is
#: trained on the images.
STUDENTS, TEACHERS = ('resnet8', 'mobilenet_v2'), ('resnet26', 'resnet34')
#: Of the labels; methods change its weight.
LOSS = dict(type='CrossEntropyLoss', loss_weight=1.0)
#: What stands for no weights, and for those that timm brings.
NO_WEIGHTS, OWN_WEIGHTS = 'none', 'pretrained'


@dataclass(frozen=True)
class NetworkConfig:
    """How a config makes a classifier of the images.

    Attributes:
        about: What it is, for a comment.
        base: Config of its model to inherit from, None where ``model`` is all of it.
        model: What is changed in it, or all of it.
        preprocessor: ``mean``, ``std`` and ``to_rgb`` that its weights want, None where ImageNet's
            do.
        is_pretrained: Whether it starts from weights, and so learns with small steps.
        imports: Modules that register its parts, the ``custom_imports`` of its config.
    """

    about: str
    base: str | None
    model: dict[str, Any]
    preprocessor: dict[str, Any] | None = None
    is_pretrained: bool = False
    imports: tuple[str, ...] = ()


def network_of(name: str, weights: str | None, num_classes: int, size: int) -> NetworkConfig:
    """A classifier by name, with a head for so many classes.

    Args:
        name: One of :data:`NAMES`, ``timm:NAME``, or a config of mmpretrain's kind.
        weights: File or URL of a checkpoint whose backbone it starts from, :data:`NO_WEIGHTS`, or
            for timm :data:`OWN_WEIGHTS`. None: those that its config names, or none.
        num_classes: K.
        size: Pixels on a side of the images.

    Raises:
        MissingFileError: If there is no such config or file.
        ConfigError: If there is no such network, or it is none for images of this size.
    """
    is_named = weights not in (NO_WEIGHTS, OWN_WEIGHTS)
    if weights and is_named and '://' not in weights and not Path(weights).is_file():
        raise MissingFileError(f'{name}: no file {weights!r} of weights: correct the path')
    if name.startswith('timm:'):
        timm_weights = weights or NO_WEIGHTS
        return _timm_network(name.removeprefix('timm:'), timm_weights, num_classes, size)
    if weights == OWN_WEIGHTS:
        raise ConfigError(
            f'{name}: {OWN_WEIGHTS!r} is for timm:NAME alone: give the file or the URL of weights'
        )
    found = _by_name(name, num_classes, size) or _by_config(name, num_classes)
    if weights in (None, NO_WEIGHTS):
        model = without_pretrained(found.model)
        if weights is None and model != found.model:
            about = f'{found.about}, from the weights that it names'
            return replace(found, about=about, is_pretrained=True)
        return replace(found, about=f'{found.about}, from random weights', model=model)
    start = dict(type='Pretrained', checkpoint=weights, prefix='backbone')
    model = without_pretrained(found.model)  # which would take the place of what is asked for
    backbone = dict(model.get('backbone', {}), init_cfg=start)
    return replace(
        found,
        about=f'{found.about}, from the backbone of {weights}',
        model=dict(model, backbone=backbone),
        is_pretrained=True,
    )


def _by_name(name: str, num_classes: int, size: int) -> NetworkConfig | None:
    short = name.replace('-', '_').lower()
    head = dict(num_classes=num_classes, topk=(1,), loss=LOSS)
    if short in CIFAR:
        if size > SMALL:
            raise ConfigError(
                f'{short} is for images up to {SMALL} pixels, and these are seen at {size}: give '
                f'--size {SMALL}, or another of {", ".join(LARGE)}'
            )
        model = dict(backbone=dict(depth=CIFAR[short]), head=head)
        base = 'mmbss::_base_/models/cifar_resnet8.py'
        return NetworkConfig(f'{short} of CIFAR', base, model)
    if short not in LARGE:
        return None
    base = f'mmpretrain::_base_/models/{LARGE[short][size <= SMALL]}.py'
    return NetworkConfig(short, base, dict(head=head))


def _by_config(name: str, num_classes: int) -> NetworkConfig:
    """The network of a config, whose model is written out, since the rest is not wanted."""
    if '::' not in name and not Path(name).is_file():
        raise MissingFileError(
            f'no network {name!r}: give the path of a config, timm:NAME, or one of '
            f'{", ".join(NAMES)}'
        )
    file = read_model_file(name)
    model = model_of(file)
    preprocessor = model.pop('data_preprocessor', None)
    head = model.get('head')
    if not isinstance(head, dict) or 'num_classes' not in head:
        raise ConfigError(f'{name}: its head has no num_classes that could be set to {num_classes}')
    model['head'] = dict(head, num_classes=num_classes, topk=(1,), loss=LOSS)
    model.pop('train_cfg', None)
    if pretrained := model.pop('pretrained', None):  # as mmpretrain's classifier takes it
        model['init_cfg'] = dict(type='Pretrained', checkpoint=pretrained)
    if preprocessor is not None:
        # what it leaves out is not what the config of the data says
        kept = {key: preprocessor.get(key) for key in ('mean', 'std')}
        # arrays are RGB as they are, but here images are files, which are read as BGR
        has_data = any(f'{split}_dataloader' in file for split in ('test', 'val'))
        are_arrays = has_data and not reads_files(transforms_of(file))
        preprocessor = dict(kept, to_rgb=are_arrays or bool(preprocessor.get('to_rgb')))
    imports = tuple(custom_imports_of(file))
    return NetworkConfig(f'the model of {name}', None, model, preprocessor, imports=imports)


def _timm_network(name: str, weights: str, num_classes: int, size: int) -> NetworkConfig:
    import torch

    with named_extra():
        import timm
    if not timm.is_model(name):
        raise ConfigError(f'timm has no model {name!r}: timm.list_models() has the names')
    bare = timm.create_model(name, pretrained=False, num_classes=0, global_pool='').eval()
    try:
        with torch.no_grad():
            features = bare(torch.zeros(1, 3, size, size))
    except Exception as error:  # whatever a network says of a size that it does not take
        raise ConfigError(
            f'timm:{name} does not take images of {size} pixels ({error}): set --size'
        ) from error
    if features.ndim != 4:
        raise ConfigError(
            f'timm:{name} puts out no map of features that a plain head could learn from: choose '
            'a convolutional one'
        )
    known: Any = bare.pretrained_cfg
    preprocessor = dict(
        mean=[round(255 * each, 3) for each in known['mean']],
        std=[round(255 * each, 3) for each in known['std']],
        to_rgb=True,
    )
    start: dict[str, Any] = {}
    if weights == OWN_WEIGHTS:
        start = dict(pretrained=True)
    elif weights != NO_WEIGHTS:
        start = dict(init_cfg=dict(type='mmbss.TimmPretrained', checkpoint=weights))
    words = {NO_WEIGHTS: 'random weights', OWN_WEIGHTS: "timm's own weights"}.get(weights, weights)
    model = dict(
        type='ImageClassifier',
        backbone=dict(type='TIMMBackbone', model_name=name, **start),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=num_classes,
            in_channels=features.shape[1],
            loss=LOSS,
            topk=(1,),
        ),
    )
    return NetworkConfig(f'{name} of timm, from {words}', None, model, preprocessor, bool(start))
