"""Metrics that compare a student with its teacher."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from mmbss.attacks import Attack
from mmbss.attacks.functional import Bounds
from mmbss.boundary.sampling import correct, has_target, target_probabilities
from mmbss.boundary.search_checks import check_gradient
from mmbss.distillers import Distiller
from mmbss.engine.build import check_keys
from mmbss.engine.class_names import as_names
from mmbss.engine.errors import ConfigError
from mmbss.engine.models import device_of
from mmbss.engine.pixel_range import check_pixels
from mmbss.engine.randomness import unchanged_randomness
from mmbss.engine.trial.pixels import check_units
from mmbss.engine.trial.sides import Side, compare_sides
from mmbss.metrics.functional import classes_at
from mmbss.metrics.model_metric import ModelMetric
from mmbss.teachers import Teacher
from mmbss.teachers.classifiers import check_same_classes, num_classes


class Moved(NamedTuple):
    """Samples at the teacher's boundary: (M, C, H, W), its (M, K) logits there, (M,) targets."""

    samples: Tensor
    logits: Tensor
    target: Tensor


class TeacherMetric(ModelMetric):
    """A metric between a student, the model that is evaluated, and a teacher.

    Both are asked about images in the teacher's normalisation, so an attack goes through the
    same space whichever of the two it is on, and the teacher's samples are the same for all
    students.

    Args:
        teacher: Arguments of a :class:`~mmbss.teachers.Teacher` (``config``, ``checkpoint``),
            or one that is built. Default None: that of the distiller that is evaluated.
        **kwargs: Arguments of :class:`ModelMetric`.

    Raises:
        MissingFileError: Before training, if the teacher's config or checkpoint does not exist.
        ConfigError: If an argument is unknown, and before training if there is no teacher or it
            does not fit, or gives no gradient where the metric needs it.

    Attributes:
        attack: What attacks the teacher, None where nothing does.
    """

    attack: Attack | None = None

    def __init__(self, teacher: dict[str, Any] | Teacher | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(teacher, dict):
            where = f'{type(self).__name__}.teacher'
            check_keys(teacher, Teacher, where, supplied=('student_preprocessor',))
        self.given = teacher

    def attach(self, model: nn.Module, dataset_size: int) -> None:
        """See :meth:`ModelMetric.attach`; builds the teacher.

        Raises:
            ConfigError: If its classes are not those of the data or the model, as far as they are
                known.
        """
        super().attach(model, dataset_size)
        assert self.model is not None
        if isinstance(self.given, dict):
            # its weights are drawn before they are loaded
            with unchanged_randomness():
                self.given = Teacher(
                    **self.given, student_preprocessor=self.model.data_preprocessor
                )
        if self.given is not None:
            self.teacher = self.given.to(device_of(self.model))
        elif isinstance(self.model, Distiller):
            self.teacher = self.model.teacher
        else:
            raise ConfigError(
                f'{type(self).__name__}: the model is a {type(self.model).__name__}, which has no '
                'teacher of its own: give teacher=dict(config=..., checkpoint=...)'
            )
        name = f'{type(self).__name__}: the student'
        check_same_classes(num_classes(self.model), self.teacher.num_classes, name)
        names = (self.dataset_meta or {}).get('classes')
        sides = [
            Side('the data', as_names(names)),
            Side(f'{type(self).__name__}: the teacher', as_names(self.teacher.classes)),
        ]
        compare_sides(sides, None)
        if self.attack is not None:
            check_gradient(self.attack, self.teacher.differentiable, type(self).__name__)

    def check_images(self, inputs: Tensor) -> None:
        """See :meth:`ModelMetric.check_images`; the pixels of the teacher and what attacks it."""
        if self.attack is None:
            check_units(self.teacher, inputs, type(self).__name__)
        else:
            check_pixels(self.teacher.from_student(inputs), self.bounds, type(self).__name__)

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

    def boundary_samples(
        self, attack: Attack, samples: Tensor, logits: Tensor, labels: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, Moved]:
        """Move the samples that the teacher classifies correctly onto its boundary.

        Args:
            attack: Attacks the teacher, toward classes drawn by its probabilities.
            samples: (N, C, H, W) in the teacher's normalisation.
            logits: (N, K), the teacher's on ``samples``.
            labels: (N,) int64.
            uniforms: (N,) in [0, 1), for the draw.

        Returns:
            (N,) bool, from which samples one is found that the attack accepts; and the M found.
        """
        found = correct(labels, logits) & has_target(logits, labels)
        if not found.any():
            return found, Moved(samples[:0], logits[:0], labels[:0])
        base = labels[found]
        target = classes_at(target_probabilities(logits[found], base), uniforms[found])
        result = attack(self.teacher_logits, samples[found], base, target, self.bounds)
        accepted = result.success
        found[found.clone()] = accepted
        return found, Moved(
            result.samples[accepted], result.logits[accepted], result.target[accepted]
        )
