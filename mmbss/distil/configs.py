"""Plain configs, one a network and method, that anyone can read and run with ``tools/train.py``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmbss.distil.data import Data
from mmbss.distil.job import Job
from mmbss.distil.methods import Setting
from mmbss.distil.networks import NetworkConfig
from mmbss.engine.files.atomic import whole_file
from mmbss.engine.files.config_text import assignment, comment
from mmbss.engine.words import counted

RUNTIME = 'mmbss::_base_/default_runtime.py'
#: As ImageNet's, whose weights most networks come with, in pixels of [0, 255].
IMAGENET: dict[str, Any] = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
)
#: Learning rate for a batch of 64 from random weights, and from weights.
RATE, SMALL_RATE = 0.05, 0.01
#: A training is validated about so many times.
VALIDATIONS = 10


class Paths:
    """Where the parts of a distillation lie.

    Args:
        folder: The work dir.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configs = folder / 'configs'
        self.data = folder / 'data'  # annotation files
        self.runs = folder / 'runs'
        self.teacher = self.runs / 'teacher'
        self.student = folder / 'student'  # what is shipped

    def config(self, name: str) -> Path:
        """The config of a network or a method."""
        return self.configs / f'{name}.py'


def validation_interval(epochs: int) -> int:
    """Epochs between two validations.

    Examples:
        >>> validation_interval(3), validation_interval(47)
        (1, 4)
    """
    return max(epochs // VALIDATIONS, 1)


def teacher_entry(paths: Paths, job: Job, epochs: int) -> dict[str, Any]:
    """The ``teacher`` of a distiller; one that is trained here sees the colours as it did then."""
    network = job.teacher.network
    if network is None:
        return dict(job.teacher.entry or {})
    checkpoint = paths.teacher / f'epoch_{epochs}.pth'
    entry: dict[str, Any] = dict(config=str(paths.config('teacher')), checkpoint=str(checkpoint))
    sees_red_first = {(each.preprocessor or IMAGENET)['to_rgb'] for each in (network, job.student)}
    return dict(entry, reverse_channels=True) if len(sees_red_first) > 1 else entry


def write_configs(paths: Paths, job: Job, settings: Sequence[Setting], epochs: int) -> None:
    """Write the configs of the data, of the teacher if it is trained, and of each setting."""
    texts = {'data': data_config(paths, job)}
    if job.teacher.network is not None:
        texts['teacher'] = classifier_config('The teacher', job.teacher.network, job, epochs)
    entry = teacher_entry(paths, job, epochs)
    for each in settings:
        if each.method == 'labels':
            texts[each.name] = classifier_config('The student', job.student, job, epochs)
        else:
            texts[each.name] = method_config(each, entry, job.teacher.about)
    for name, text in texts.items():
        with whole_file(paths.config(name)) as part:
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


def data_config(paths: Paths, job: Job) -> str:
    """The config of the data that all others inherit."""
    data = job.data
    train, test, how = pipelines_of(data)
    parts = [
        comment(f'The images of {data.root}: {how}.'),
        comment('Paths are relative to the folder that the distillation was started in.'),
        assignment('data_preprocessor', dict(num_classes=len(data.classes), **IMAGENET)),
    ]
    for split in ('train', 'val', 'test'):
        is_train = split == 'train'
        dataset: dict[str, Any] = dict(
            type='CustomDataset',
            data_prefix=str(data.root),
            ann_file=str(paths.data / f'{split}.txt'),
            metainfo=dict(classes=data.classes),
            pipeline=train if is_train else test,
        )
        loader: dict[str, Any] = dict(
            batch_size=job.batch_size if is_train else 2 * job.batch_size,
            num_workers=job.workers,
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=is_train),
        )
        if is_train:
            loader['drop_last'] = True  # a last batch of one image has no statistics
        else:
            dataset['test_mode'] = True
        if split == 'test':
            parts.append(comment('Looked at when all choices are made.'))
        parts.append(assignment(f'{split}_dataloader', loader))
    parts.append("val_evaluator = dict(type='Accuracy', topk=(1,))\n")
    parts.append("test_evaluator = dict(type='Accuracy', topk=(1,))\n")
    return paragraphs(parts)


def classifier_config(role: str, network: NetworkConfig, job: Job, epochs: int) -> str:
    """The config of a network that learns from the labels."""
    rate, why = RATE, 'from random weights'
    if network.is_pretrained:
        rate, why = SMALL_RATE, 'from weights, so with small steps'
    optimizer = dict(
        type='SGD',
        lr=round(rate * job.batch_size / 64, 6),
        momentum=0.9,
        weight_decay=5e-4,
        nesterov=True,
    )
    scheduler = dict(
        type='CosineAnnealingLR', T_max=epochs, by_epoch=True, convert_to_iter_based=True
    )
    interval = validation_interval(epochs)
    parts = [
        comment(f'{role}, on the labels alone: {network.about}.'),
        assignment('_base_', ['./data.py', *([network.base] if network.base else []), RUNTIME]),
        assignment('model', network.model),
    ]
    if network.imports:
        imports = [*dict.fromkeys(['mmbss', *network.imports])]
        parts.append(assignment('custom_imports', dict(imports=imports)))
    if network.preprocessor:
        parts += [
            comment('the normalisation that its weights were trained with'),
            assignment('data_preprocessor', network.preprocessor),
        ]
    parts += [
        comment(
            f'{counted(epochs, "epoch")} of {counted(job.steps, "step")}, {why}; the learning rate '
            'falls to 0 along a cosine; gradients are clipped, since some methods begin with steep '
            'ones'
        ),
        assignment(
            'optim_wrapper',
            dict(type='OptimWrapper', optimizer=optimizer, clip_grad=dict(max_norm=5.0)),
        ),
        assignment('param_scheduler', scheduler),
        assignment('train_cfg', dict(by_epoch=True, max_epochs=epochs, val_interval=interval))
        + 'val_cfg = dict()\ntest_cfg = dict()\n',
        assignment(
            'default_hooks',
            dict(
                logger=dict(interval=max(min(job.steps // 2, 50), 1)),
                checkpoint=dict(interval=interval),
            ),
        ),
    ]
    return paragraphs(parts)


def method_config(setting: Setting, entry: dict[str, Any], about: str) -> str:
    """The config of a method, which changes that of the labels alone."""
    parts = [
        comment(f'{setting.about}.'),
        comment(f'The teacher: {about}.'),
        "_base_ = './labels.py'\n",
        assignment('model', dict(type='mmbss.Distiller', teacher=entry, **setting.model)),
    ]
    if setting.schedules:
        hook = dict(type='mmbss.BSSHook', schedules=setting.schedules)
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
