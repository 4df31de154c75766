"""Metrics that compare a student with its teacher."""

from typing import Any

import torch
from torch import Tensor, nn

from mmbss.attacks.functional import Bounds
from mmbss.boundary.sampling import target_probabilities
from mmbss.distillers import Distiller, Teacher
from mmbss.distillers.classifiers import num_classes
from mmbss.engine.config_checks import check_keys
from mmbss.engine.errors import ConfigError
from mmbss.metrics.functional import classes_at
from mmbss.metrics.model_metric import ModelMetric

#: How the class is chosen toward which a sample is attacked.
TARGET_CLASSES = ('probability', 'second_most_probable')


class TeacherMetric(ModelMetric):
    """A metric between a student, the model that is evaluated, and a teacher.

    Both are asked about images in the teacher's normalisation, so an attack goes through the
    same space whichever of the two it is on, and the teacher's samples are the same for all
    students.

    Args:
        teacher: Arguments of a :class:`~mmbss.distillers.Teacher` (``config``, ``checkpoint``),
            or one that is built. Default None: that of the distiller that is evaluated.
        **kwargs: Arguments of :class:`ModelMetric`.

    Raises:
        FileNotFoundError: Before training, if the teacher's config or checkpoint does not exist.
        ValueError: If an argument is unknown, and before training if there is no teacher or it
            does not fit.
    """

    def __init__(self, teacher: dict[str, Any] | Teacher | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(teacher, dict):
            where = f'{type(self).__name__}.teacher'
            check_keys(teacher, Teacher, where, supplied=('student_preprocessor',))
        self.teacher_config = teacher if isinstance(teacher, dict) else None
        self.given_teacher = teacher if isinstance(teacher, Teacher) else None

    def attach(self, model: nn.Module, dataset_size: int) -> None:
        """See :meth:`ModelMetric.attach`; builds the teacher."""
        super().attach(model, dataset_size)
        assert self.model is not None
        if self.teacher_config is not None and self.given_teacher is None:
            # its weights are drawn before they are loaded
            with torch.random.fork_rng(devices=[]):
                self.given_teacher = Teacher(
                    **self.teacher_config, student_preprocessor=self.model.data_preprocessor
                )
        if self.given_teacher is not None:
            self.teacher = self.given_teacher.to(next(self.model.parameters()).device)
        elif isinstance(self.model, Distiller):
            self.teacher = self.model.teacher
        else:
            raise ConfigError(
                f'{type(self).__name__}: the model is a {type(self.model).__name__}, which has no '
                'teacher of its own: give teacher=dict(config=..., checkpoint=...)'
            )
        own, others = num_classes(self.model), num_classes(self.teacher.network)
        if own is not None and others is not None and own != others:
            raise ConfigError(
                f'{type(self).__name__}: the student has {own} classes, the teacher {others}: '
                'they can be compared only where they have the same classes'
            )

    @property
    def bounds(self) -> Bounds:
        """Pixels 0 and 255 in the teacher's normalisation."""
        return self.teacher.pixel_bounds

    def teacher_logits(self, samples: Tensor) -> Tensor:
        """(N, K) float32 of (N, C, H, W) samples in the teacher's normalisation."""
        return self.teacher.logits(samples).float()

    def student_logits(self, samples: Tensor) -> Tensor:
        """(N, K) float32 of (N, C, H, W) samples in the teacher's normalisation."""
        return self.logits(self.teacher.to_student(samples))


def choose_target_class(logits: Tensor, base: Tensor, by: str, uniforms: Tensor) -> Tensor:
    """Choose the class toward which each sample is attacked, whatever the batch it comes in.

    Args:
        logits: (N, K) of the teacher.
        base: (N,) int64 base classes.
        by: ``'probability'``: drawn in proportion to the teacher's probabilities, as in training;
            ``'second_most_probable'``: the most probable class but the base class.
        uniforms: (N,) random numbers in [0, 1).

    Returns:
        (N,) int64.
    """
    probabilities = target_probabilities(logits, base)
    if by == 'second_most_probable':
        return probabilities.argmax(dim=1)
    return classes_at(probabilities, uniforms)
