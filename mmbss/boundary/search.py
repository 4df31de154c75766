"""What there is to learn at the teacher's decision boundary in one batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmbss.acceleration.recorded_pass import RecallingNetwork, RecordedPass
from mmbss.attacks import Attack
from mmbss.attacks.functional import project
from mmbss.boundary.sampling import (
    BASE_SAMPLES,
    TARGET_CLASSES,
    choose_target_classes,
    select_base_samples,
)
from mmbss.distillers.teacher import Teacher
from mmbss.engine.errors import ConfigError

TRAIN_ON = ('accepted', 'all')


@dataclass(frozen=True)
class BoundarySamples:
    """Samples at the boundary; there may be none.

    Attributes:
        inputs: (M, C, H, W) in the student's normalisation.
        teacher_logits: (M, K) on ``inputs``.
        labels: (M,) int64 base classes.
        weights: (M,) float32 weights in the loss, None where they are equal.
        statistics: Scalars for the log, of all samples that were attacked.
    """

    inputs: Tensor
    teacher_logits: Tensor
    labels: Tensor
    weights: Tensor | None
    statistics: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class BoundarySearch:
    """Chooses base samples and target classes, attacks, and keeps what the student learns.

    The arguments are those of the ``boundary`` of a :class:`~mmbss.distillers.BSSDistiller`.

    Raises:
        ValueError: If one is out of its range.
    """

    attack: Attack
    base_samples: str
    num_base_samples: int
    target_class: str
    min_target_probability: float
    train_on: str
    bounds: tuple[float, float] | None

    def __post_init__(self) -> None:
        check_choice('base_samples', self.base_samples, BASE_SAMPLES)
        check_choice('target_class', self.target_class, TARGET_CLASSES)
        check_choice('train_on', self.train_on, TRAIN_ON)
        if self.num_base_samples < 1:
            raise ConfigError(
                f'boundary.num_base_samples must be at least 1, got {self.num_base_samples}'
            )
        if not 0 <= self.min_target_probability < 1:
            raise ConfigError(
                'boundary.min_target_probability must be at least 0 and below 1, got '
                f'{self.min_target_probability}'
            )
        if self.min_target_probability and self.target_class != 'all':
            raise ConfigError(
                "boundary.min_target_probability is for target_class='all', but "
                f'boundary.target_class is {self.target_class!r}'
            )
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ConfigError(f'boundary.bounds must be (lowest, highest), got {self.bounds}')
        if self.bounds is not None and self.attack.in_pixels:
            raise ConfigError(
                f'boundary.attack: {type(self.attack).__name__} is measured in pixels, which are '
                f'read off the pixel bounds, but boundary.bounds={self.bounds} replaces them: '
                'remove boundary.bounds, or set it to None'
            )

    def __call__(
        self,
        teacher: Teacher,
        inputs: Tensor,
        student_logits: Tensor,
        teacher_logits: Tensor,
        labels: Tensor,
        recorded: RecordedPass | None = None,
    ) -> BoundarySamples:
        """Find the boundary samples of a batch.

        Args:
            teacher: The attacked network.
            inputs: (N, C, H, W) images in the student's normalisation.
            student_logits: (N, K) on ``inputs``, without gradient.
            teacher_logits: (N, K) on ``inputs``.
            labels: (N,) int64 hard labels.
            recorded: The pass in which the teacher has answered ``inputs``, if it was recorded.
        """
        chosen = select_base_samples(
            student_logits, teacher_logits, labels, self.num_base_samples, self.base_samples
        )
        indices, target, weights = choose_target_classes(
            teacher_logits[chosen], labels[chosen], self.target_class, self.min_target_probability
        )
        statistics = {'bss_samples': student_logits.new_tensor(float(len(chosen)))}
        chosen = chosen[indices]
        base = labels[chosen]
        if not len(chosen):
            return BoundarySamples(inputs[:0], teacher_logits[:0], base, weights, statistics)
        images = teacher.from_student(inputs[chosen])
        # another normalisation rounds a pixel at a bound to a little beyond it
        samples = project(images, teacher.pixel_bounds)
        network: Callable[[Tensor], Tensor] = teacher.logits
        if recorded is not None:
            recorded.keep(chosen)
            network = RecallingNetwork(network, recorded, images)
        result = self.attack(network, samples, base, target, self.bounds or teacher.pixel_bounds)
        statistics |= {f'bss_{name}': value for name, value in result.statistics().items()}
        kept = result.success if self.train_on == 'accepted' else torch.ones_like(result.success)
        return BoundarySamples(
            teacher.to_student(result.samples[kept]).to(inputs.dtype),
            result.logits[kept],
            base[kept],
            None if weights is None else weights[kept],
            statistics,
        )


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value of ``boundary`` that is none of the choices.

    Raises:
        ValueError: Naming the choices.
    """
    if value not in choices:
        listed = ' or '.join([', '.join(map(repr, choices[:-1])), repr(choices[-1])])
        raise ConfigError(f'boundary.{key} must be {listed}, got {value!r}')
