"""The config of a student as anyone can use it: no teacher, no training, image files as input."""

from collections.abc import Iterable
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from mmbss.engine.own_code import custom_imports_of
from mmbss.engine.pipelines import reads_files, transforms_of, turns_channels
from mmbss.export.deployed import Interface
from mmbss.registry import TRANSFORMS
from mmbss.teachers.classifiers import plain_classifier

#: Packages that whoever has mmpretrain has.
OF_MMPRETRAIN = frozenset(('mmcv', 'mmengine', 'mmpretrain', 'torch', 'torchvision'))
#: Packages that mmpretrain imports itself where a model needs them.
WITHOUT_REGISTRY = ('timm', 'transformers')
#: Arguments of a data preprocessor that count outside of a training, beside its normalisation.
LASTING = ('pad_size_divisor', 'pad_value')
#: Pillow's weights of a grey image leave one that is grey already as it is, to the bit.
TO_GREY = (
    dict(type='NumpyToPIL', to_rgb=True),
    dict(type='torchvision/Grayscale', num_output_channels=1),
    dict(type='PILToNumpy'),
)


def plain_config(
    config: Config,
    model: nn.Module,
    interface: Interface,
    stored: tuple[int, int] | None = None,
    keeps_reader: bool = False,
) -> Config:
    """The student's config alone, for ``mmpretrain.get_model`` and its inferencer.

    They read files as BGR images of any size, so where a data set gives arrays, or files of one
    size, the pipeline resizes, and the data preprocessor swaps the channels where the network wants
    RGB.

    Args:
        config: What the student was trained with.
        model: The student that was built from it.
        interface: What it takes and gives.
        stored: See :class:`~mmbss.export.real_images.RealImages`.
        keeps_reader: Whether grey images are read as the training has read them, where it says how.
            mmpretrain's inferencer reads colours whatever the config says.
    """
    transforms = file_pipeline(transforms_of(config), interface, stored, keeps_reader)
    student = plain_classifier(config.model.to_dict())
    preprocessor = student.pop('data_preprocessor', None) or config.get('data_preprocessor') or {}
    lasting = {key: value for key, value in preprocessor.items() if key in LASTING}
    student['data_preprocessor'] = dict(
        lasting,
        type='ClsDataPreprocessor',
        # one of somebody's own need not have them from the config
        mean=[*interface.mean],
        std=[*interface.std],
        to_rgb=interface.channels == ('bgr' if turns_channels(transforms) else 'rgb'),
    )
    student['type'] = student['type'].removeprefix('mmpretrain.')
    student.pop('train_cfg', None)
    needed = needed_packages(model, transforms) - set(WITHOUT_REGISTRY)
    loader = dict(
        batch_size=64,
        num_workers=0,
        dataset=dict(
            type='CustomDataset',
            data_root='images',  # a folder for each class
            metainfo=dict(classes=list(interface.classes)),
            pipeline=transforms,
            test_mode=True,
        ),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    imports = imports_of(config, sorted(needed))
    return Config(
        dict(
            default_scope='mmpretrain',
            **(dict(custom_imports=dict(imports=imports)) if imports else {}),
            model=without_pretrained(student),
            test_dataloader=loader,
            test_evaluator=dict(type='Accuracy', topk=(1,)),
            test_cfg=dict(),
        )
    )


def file_pipeline(
    transforms: list[dict[str, Any]],
    interface: Interface,
    stored: tuple[int, int] | None,
    keeps_reader: bool = False,
) -> list[dict[str, Any]]:
    """A pipeline that makes of the file of an image what the network's test images are.

    See :func:`plain_config`.
    """
    if not reads_files(transforms):
        transforms = [dict(type='LoadImageFromFile'), *transforms]
        stored = stored or (interface.height, interface.width)
    elif any(word in str(each['type']) for each in transforms for word in ('Resize', 'Crop')):
        stored = None  # it takes files of any size
    if stored:  # all test images had this size, which leaves them as they are; others have not
        resize = dict(type='Resize', scale=stored[::-1])
        transforms = [transforms[0], resize, *transforms[1:]]
    if not str(transforms[-1]['type']).startswith('Pack'):  # where the data set packs by itself
        transforms = [*transforms, dict(type='PackInputs')]
    load, *others = transforms
    is_read_grey = keeps_reader and load.get('color_type') == 'grayscale'
    if interface.channels != 'gray' or is_read_grey:
        return transforms
    load = {key: value for key, value in load.items() if key != 'color_type'}
    return [load, *(dict(each) for each in TO_GREY), *others]


def without_pretrained(part: Any) -> Any:
    """A model's config without the weights that were loaded, or downloaded, before its training."""
    if isinstance(part, list):
        return [without_pretrained(each) for each in part if not names_weights(each)]
    if not isinstance(part, dict):
        return part
    kept = {k: without_pretrained(v) for k, v in part.items() if not names_weights(v)}
    if kept.get('pretrained'):
        kept['pretrained'] = False if kept['pretrained'] is True else None
    return kept


def names_weights(part: Any) -> bool:
    """Whether a part of a config is an ``init_cfg`` that loads a checkpoint."""
    return isinstance(part, dict) and str(part.get('type')).endswith('Pretrained')


def needed_packages(model: nn.Module, transforms: Iterable[dict[str, Any]]) -> set[str]:
    """Packages that a model and its pipeline come from, beside those that mmpretrain needs itself.

    Its data preprocessor is left out: the plain config has mmpretrain's own.
    """
    preprocessor = {id(part) for part in getattr(model, 'data_preprocessor', model).modules()}
    kinds: list[Any] = [type(part) for part in model.modules() if id(part) not in preprocessor]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        kinds += [TRANSFORMS.get(str(each['type'])) for each in transforms]
    return {package_of(kind) for kind in kinds if kind is not None} - OF_MMPRETRAIN


def package_of(kind: Any) -> str:
    """Name of the package that a class, a function, or a part of one is from."""
    kind = getattr(kind, 'func', kind)  # mmpretrain wraps torchvision's transforms so
    return str(getattr(kind, '__module__', 'torch')).partition('.')[0]


def imports_of(config: Config, packages: Iterable[str]) -> list[str]:
    """Modules to import for what packages register: those that the config names, or themselves."""
    given = custom_imports_of(config)
    found: list[str] = []
    for package in packages:
        found += [each for each in given if each.partition('.')[0] == package] or [package]
    return found
