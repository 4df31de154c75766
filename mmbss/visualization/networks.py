"""The networks of a comparison, asked about the same images, and test samples to ask about."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmbss.attacks.functional import Bounds
from mmbss.distillers import Teacher
from mmbss.distillers.classifiers import num_classes
from mmbss.distillers.distiller import class_labels
from mmbss.metrics.evaluation import Network, load_classifier
from mmbss.registry import DATASETS
from mmbss.visualization.boundary_pairs import Answer


@dataclass(frozen=True)
class Networks:
    """A teacher and its students on common ground: images in the teacher's normalisation.

    Attributes:
        teacher: Logits of the teacher.
        students: Logits of the students by name.
        bounds: Pixels 0 and 255, (C, 1, 1) each.
        samples: (N, C, H, W) float32 test images.
        labels: (N,) int64.
        classes: Names of the classes.
    """

    teacher: Answer
    students: dict[str, Answer]
    bounds: Bounds
    samples: Tensor
    labels: Tensor
    classes: list[str]


def load_networks(
    teacher: Network, students: dict[str, Network], data_config: Config, num_samples: int
) -> Networks:
    """Load a teacher, its students and test samples.

    Args:
        teacher: ``config`` and ``checkpoint``, as a :class:`~mmbss.distillers.Teacher` takes them.
        students: The same for each student, by name; at least one.
        data_config: A whole config, whose test samples are read.
        num_samples: How many, evenly spread over the dataset.

    Raises:
        FileNotFoundError: If a config, a checkpoint or the data does not exist.
        ValueError: If a checkpoint does not fit, or the classes differ.
    """
    answers: dict[str, Answer] = {}
    for name, network in students.items():
        student = load_classifier(network, name)
        guide = Teacher(**teacher, student_preprocessor=student.data_preprocessor)
        guide.to(next(student.parameters()).device)
        _check_same_classes(name, student, guide.network)
        answers[name] = _in_teachers_space(student, guide)
    rows, labels, classes = read_test_samples(data_config, num_samples)
    # of one student after the other the last is at hand, and any of them prepares images
    inputs = student.data_preprocessor(rows, False)['inputs']
    known = num_classes(guide.network) or int(labels.max()) + 1
    return Networks(
        teacher=lambda images: guide.logits(images).float(),
        students=answers,
        bounds=guide.pixel_bounds,
        samples=guide.from_student(inputs).float(),
        labels=labels.to(inputs.device),
        classes=classes or [str(number) for number in range(known)],
    )


def read_test_samples(config: Config, count: int) -> tuple[dict[str, Any], Tensor, list[str]]:
    """Read test samples, evenly spread over the dataset.

    Args:
        config: A whole config with a ``test_dataloader`` or a ``val_dataloader``.
        count: How many at most.

    Returns:
        A batch for a data preprocessor, (N,) int64 labels, and the names of the classes, if the
        dataset has any.

    Raises:
        ValueError: If the config has no test samples.
    """
    loader = config.get('test_dataloader') or config.get('val_dataloader')
    if loader is None:
        raise ValueError(f'{config.filename} has neither test_dataloader nor val_dataloader')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(copy.deepcopy(loader.dataset))
    if len(dataset) == 0:
        raise ValueError(f'{config.filename}: there are no test samples')
    chosen = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().int().tolist()
    rows = pseudo_collate([dataset[row] for row in chosen])
    return rows, class_labels(rows['data_samples']), list(dataset.metainfo.get('classes', ()))


def _in_teachers_space(student: nn.Module, guide: Teacher) -> Answer:
    return lambda images: student(guide.to_student(images), mode='tensor').float()


def _check_same_classes(name: str, student: nn.Module, teacher: nn.Module) -> None:
    own, others = num_classes(student), num_classes(teacher)
    if own is not None and others is not None and own != others:
        raise ValueError(
            f'{name} has {own} classes, its teacher {others}: only networks with the same '
            'classes can be compared'
        )
