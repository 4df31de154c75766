"""Plain configs, one a network and method, that anyone can read and run with ``tools/train.py``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbss.distil.code import assignment, comment
from mmbss.distil.data import Data
from mmbss.distil.methods import Setting
from mmbss.distil.networks import Network
from mmbss.distil.teachers import TeacherChoice
from mmbss.engine.atomic import whole_file

RUNTIME = 'mmbss::_base_/default_runtime.py'
#: As ImageNet's, whose weights most networks come with, in pixels of [0, 255].
IMAGENET: dict[str, Any] = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
)
#: Learning rate for a batch of 64 from random weights, and from weights.
RATE, SMALL_RATE = 0.05, 0.01
#: A training is validated about so many times.
VALIDATIONS = 10


@dataclass(frozen=True)
class Place:
    """Where the parts of a distillation lie.

    Attributes:
        folder: The work dir.
    """

    folder: Path

    @property
    def configs(self) -> Path:
        """Folder of the configs."""
        return self.folder / 'configs'

    @property
    def data(self) -> Path:
        """Folder of the annotation files."""
        return self.folder / 'data'

    @property
    def runs(self) -> Path:
        """Folder of the runs, the teacher's among them."""
        return self.folder / 'runs'

    @property
    def teacher(self) -> Path:
        """Work dir of the teacher's training."""
        return self.runs / 'teacher'

    def config(self, name: str) -> Path:
        """The config of a network or a method."""
        return self.configs / f'{name}.py'


@dataclass(frozen=True)
class Training:
    """How long and in which steps networks are trained.

    Attributes:
        epochs: Of each training.
        batch_size: Images of a step.
        workers: Processes that read images, beside the one that trains.
    """

    epochs: int
    batch_size: int
    workers: int


def teacher_entry(
    place: Place, teacher: TeacherChoice, student: Network, epochs: int
) -> dict[str, Any]:
    """The ``teacher`` of a distiller; one that is trained here sees the colours as it did then."""
    if teacher.network is None:
        return dict(teacher.entry or {})
    checkpoint = place.teacher / f'epoch_{epochs}.pth'
    entry: dict[str, Any] = dict(config=str(place.config('teacher')), checkpoint=str(checkpoint))
    orders = {is_rgb(network) for network in (teacher.network, student)}
    return dict(entry, reverse_channels=True) if len(orders) > 1 else entry


def is_rgb(network: Network) -> bool:
    """Whether a network sees red first."""
    return bool((network.preprocessor or {}).get('to_rgb', IMAGENET['to_rgb']))


def write_configs(
    place: Place,
    data: Data,
    student: Network,
    teacher: TeacherChoice,
    settings: Sequence[Setting],
    training: Training,
) -> None:
    """Write the configs of the data, of the teacher if it is trained, and of each setting."""
    texts = {'data': data_config(place, data, training)}
    if teacher.network is not None:
        texts['teacher'] = classifier_config('The teacher', teacher.network, data, training)
    entry = teacher_entry(place, teacher, student, training.epochs)
    for each in settings:
        if each.method == 'labels':
            texts[each.name] = classifier_config('The student', student, data, training)
        else:
            texts[each.name] = method_config(each, entry, teacher.about)
    for name, text in texts.items():
        with whole_file(place.config(name)) as part:
            part.write_text(text, encoding='utf-8')


def pipelines_of(data: Data) -> tuple[list[Any], list[Any], str]:
    """What happens to images in training, and otherwise; and the former in words."""
    train: list[Any]
    if data.is_small:
        padding = max(data.size // 8, 1)
        test: list[Any] = []
        if not data.same_size:
            test = [dict(type='Resize', scale=(data.size, data.size))]
        train = [*test, dict(type='RandomCrop', crop_size=data.size, padding=padding)]
        how = f'small images, shifted by up to {padding} pixels'
    else:
        test = [
            dict(type='ResizeEdge', scale=round(data.size * 256 / 224), edge='short'),
            dict(type='CenterCrop', crop_size=data.size),
        ]
        train = [dict(type='RandomResizedCrop', scale=data.size, crop_ratio_range=(0.4, 1.0))]
        how = 'cut out at random with 40 to 100 % of the area'
    if data.is_grey:
        how += '; not mirrored, since they are grey: digits and letters would not bear it'
    else:
        train.append(dict(type='RandomFlip', prob=0.5, direction='horizontal'))
        how += ' and mirrored; take RandomFlip out where left and right differ'
    load, pack = dict(type='LoadImageFromFile'), dict(type='PackInputs')
    return [load, *train, pack], [load, *test, pack], how


def data_config(place: Place, data: Data, training: Training) -> str:
    """The config of the data that all others inherit."""
    train, test, how = pipelines_of(data)
    parts = [
        comment(f'The images of {data.root}: {how}.'),
        comment('Paths are relative to the folder that the distillation was started in.'),
        assignment('data_preprocessor', dict(num_classes=len(data.classes), **IMAGENET)),
    ]
    is_enough = len(data.splits['train']) >= training.batch_size
    for split in ('train', 'val', 'test'):
        dataset: dict[str, Any] = dict(
            type='CustomDataset',
            data_prefix=str(data.root),
            ann_file=str(place.data / f'{split}.txt'),
            metainfo=dict(classes=data.classes),
            pipeline=train if split == 'train' else test,
        )
        if split != 'train':
            dataset['test_mode'] = True
        loader: dict[str, Any] = dict(
            batch_size=training.batch_size if split == 'train' else 2 * training.batch_size,
            num_workers=training.workers,
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
        )
        if split == 'train' and is_enough:
            loader['drop_last'] = True  # a last batch of one image has no statistics
        if split == 'test':
            parts.append(comment('Looked at when all choices are made.'))
        parts.append(assignment(f'{split}_dataloader', loader))
    parts.append("val_evaluator = dict(type='Accuracy', topk=(1,))\n")
    parts.append("test_evaluator = dict(type='Accuracy', topk=(1,))\n")
    return paragraphs(parts)


def classifier_config(role: str, network: Network, data: Data, training: Training) -> str:
    """The config of a network that learns from the labels."""
    bases = ['./data.py', RUNTIME]
    if network.base:
        bases.insert(1, network.base)
    rate = SMALL_RATE if network.is_pretrained else RATE
    rate = round(rate * training.batch_size / 64, 6)
    why = 'from weights, so with small steps' if network.is_pretrained else 'from random weights'
    steps = max(len(data.splits['train']) // training.batch_size, 1)
    interval = max(training.epochs // VALIDATIONS, 1)
    parts = [
        comment(f'{role}, on the labels alone: {network.about}.'),
        assignment('_base_', bases),
        assignment('model', network.model),
    ]
    if network.preprocessor:
        parts += [
            comment('the normalisation that its weights were trained with'),
            assignment('data_preprocessor', network.preprocessor),
        ]
    parts += [
        comment(
            f'{training.epochs} epochs of {steps} steps, {why}; the learning rate falls to 0 along '
            'a cosine; gradients are clipped, since some methods begin with steep ones'
        ),
        assignment(
            'optim_wrapper',
            dict(
                type='OptimWrapper',
                optimizer=dict(type='SGD', lr=rate, momentum=0.9, weight_decay=5e-4, nesterov=True),
                clip_grad=dict(max_norm=5.0),
            ),
        ),
        assignment(
            'param_scheduler',
            dict(
                type='CosineAnnealingLR',
                T_max=training.epochs,
                by_epoch=True,
                convert_to_iter_based=True,
            ),
        ),
        assignment(
            'train_cfg',
            dict(
                by_epoch=True,
                max_epochs=training.epochs,
                val_interval=interval,
            ),
        )
        + 'val_cfg = dict()\ntest_cfg = dict()\n',
        assignment(
            'default_hooks',
            dict(
                logger=dict(interval=max(min(steps // 2, 50), 1)),
                checkpoint=dict(interval=interval),
            ),
        ),
    ]
    return paragraphs(parts)


def method_config(setting: Setting, entry: dict[str, Any], about: str) -> str:
    """The config of a method, which changes that of the labels alone."""
    changes = dict(setting.changes)
    schedules = changes.pop('schedules', None)
    losses = changes.pop('losses')
    model = dict(type='mmbss.Distiller', **changes, teacher=entry, losses=losses)
    parts = [
        comment(f'{setting.about}.'),
        comment(f'The teacher: {about}.'),
        "_base_ = './labels.py'\n",
        assignment('model', model),
    ]
    if schedules:
        hook = dict(type='mmbss.BSSHook', schedules=schedules)
        parts.append(assignment('default_hooks', dict(bss=hook)))
    return paragraphs(parts)


def paragraphs(parts: Sequence[str]) -> str:
    r"""Parts of a config with an empty line between them, but for comments and what they are of.

    Examples:
        >>> paragraphs(['# one\n', 'a = 1\n', 'b = 2\n'])
        '# one\na = 1\n\nb = 2\n'
    """
    return ''.join(
        part if number == 0 or parts[number - 1].startswith('#') else f'\n{part}'
        for number, part in enumerate(parts)
    )
