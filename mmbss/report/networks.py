"""The networks of a comparison, asked about the same images, and test samples to ask about."""

from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.utils.data import Subset

from mmbss.attacks.functional import Bounds, ToLogits
from mmbss.datasets.subsets import spread_rows
from mmbss.distillers.data_samples import class_labels
from mmbss.engine.errors import ConfigError
from mmbss.engine.models import device_of
from mmbss.registry import DATASETS
from mmbss.studies.classifiers import Network, load_classifier
from mmbss.teachers import Teacher
from mmbss.teachers.classifiers import check_same_classes, num_classes


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
        differentiable: Whether the teacher's logits have a gradient.
    """

    teacher: ToLogits
    students: dict[str, ToLogits]
    bounds: Bounds
    samples: Tensor
    labels: Tensor
    classes: list[str]
    differentiable: bool = True


def load_networks(
    teacher: Network, students: dict[str, Network], data_config: Config, num_samples: int
) -> Networks:
    """Load a teacher, its students and so many of the test samples of a config.

    Args:
        teacher: Arguments of a :class:`~mmbss.teachers.Teacher`, of any kind.
        students: ``config`` and ``checkpoint`` of each student, by name; at least one.
        data_config: A whole config.
        num_samples: See :func:`loader_of_tests`.

    Raises:
        ConfigError: If a file is missing, a checkpoint does not fit, or the classes differ.
    """
    answers: dict[str, ToLogits] = {}
    dataset = loader_of_tests(data_config, num_samples)['dataset']
    for name, network in students.items():
        student = load_classifier(network, name, dataset.metainfo.get('classes'))
        guide = Teacher(**teacher, student_preprocessor=student.data_preprocessor)
        guide.to(device_of(student))
        check_same_classes(num_classes(student), guide.num_classes, name)
        answers[name] = _in_teachers_space(student, guide)
    # of the students the last one is at hand, and any of them prepares the images
    batch = pseudo_collate([dataset[row] for row in range(len(dataset))])
    data = student.data_preprocessor(batch, False)
    inputs, labels = data['inputs'], class_labels(data['data_samples'])
    known = range(guide.num_classes or int(labels.max()) + 1)
    return Networks(
        teacher=lambda images: guide.logits(images).float(),
        students=answers,
        bounds=guide.pixel_bounds,
        samples=guide.from_student(inputs).float(),
        labels=labels.to(inputs.device),
        classes=list(dataset.metainfo.get('classes') or guide.classes or map(str, known)),
        differentiable=guide.differentiable,
    )


def loader_of_tests(config: Config, count: int) -> dict[str, Any]:
    """Config of the loader of test samples, with a dataset that is built and cut down.

    Args:
        config: A whole config with a ``test_dataloader`` or a ``val_dataloader``.
        count: Samples at most, evenly spread over the dataset.

    Raises:
        ConfigError: If there are no test samples.
    """
    loader = config.get('test_dataloader') or config.get('val_dataloader')
    if loader is None:
        raise ConfigError(f'{config.filename} has neither test_dataloader nor val_dataloader')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(loader.dataset.to_dict())
    if min(count, len(dataset)) < 1:
        raise ConfigError(f'{count} of {len(dataset)} test samples are none: take more')
    subset: Any = Subset(dataset, spread_rows(len(dataset), count))
    subset.metainfo = getattr(dataset, 'metainfo', {})
    return dict(loader, dataset=subset)


def _in_teachers_space(student: nn.Module, guide: Teacher) -> ToLogits:
    return lambda images: student(guide.to_student(images), mode='tensor').float()
