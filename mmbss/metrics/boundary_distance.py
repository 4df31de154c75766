"""How far student and teacher keep their samples from the decision boundary."""

import torch
from torch import Tensor

from mmbss.attacks import ClosestAttack
from mmbss.attacks.functional import Bounds, ToLogits
from mmbss.boundary.sampling import correct, target_probabilities
from mmbss.metrics.teacher_metric import TeacherMetric
from mmbss.registry import METRICS

#: Finds the closest sample beyond the boundary.
ATTACK = ClosestAttack(third_class='accept')


def boundary_distance(model: ToLogits, samples: Tensor, base: Tensor, bounds: Bounds) -> Tensor:
    """Length of the shortest way that is found from each sample out of its base class.

    It is an upper bound of the distance to the decision boundary.

    Args:
        model: Maps (N, C, H, W) samples to (N, K) logits.
        samples: (N, C, H, W), N > 0.
        base: (N,) int64 classes that the model decides for.
        bounds: Lowest and highest value of a sample: pixels 0 and 255.

    Returns:
        (N,) float32: the L2 length in images of values in [0, 1], that is in pixels / 255;
        ``inf`` where no way is found.
    """
    lowest, highest = bounds
    extent = highest - lowest

    # in the units of the distance, in which a step is to be short
    def scaled_model(images: Tensor) -> Tensor:
        return model(lowest + images * extent)

    images = (samples - lowest) / extent
    target = target_probabilities(model(samples), base).argmax(dim=1)
    result = ATTACK(scaled_model, images, base, target, (0.0, 1.0))
    lengths = (result.samples - images).flatten(1).norm(dim=1)
    return torch.where(result.success, lengths, torch.inf)


@METRICS.register_module()
class BoundaryDistance(TeacherMetric):
    """Median distance of the samples to the decision boundary, of ``student`` and ``teacher``.

    Over the ``samples`` that both classify correctly; see :func:`boundary_distance` for the
    units. Each network is attacked toward the class that is second most probable for it, and
    ends in whatever class comes first. Without a sample the medians are left out, and also where
    no way out is found for more than half of the samples, with a warning.

    Args:
        teacher: See :class:`TeacherMetric`.
        **kwargs: ``num_samples``, ``seed`` and other arguments of :class:`ModelMetric`.

    Raises:
        ConfigError: As :class:`TeacherMetric` does.
    """

    default_prefix = 'boundary_distance'
    attack = ATTACK
    fields = ('student', 'teacher')
    nothing = 'student and teacher both classify no sample correctly, so there is no median'

    def measure(
        self, inputs: Tensor, labels: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`ModelMetric.measure`; about the samples that both classify correctly."""
        samples = self.teacher.from_student(inputs)
        networks = dict(student=self.student_logits, teacher=self.teacher_logits)
        logits = {role: network(samples) for role, network in networks.items()}
        tried = correct(labels, *logits.values())
        if not tried.any():
            return tried, {}
        distances = {
            role: boundary_distance(network, samples[tried], labels[tried], self.bounds)
            for role, network in networks.items()
        }
        return tried, distances

    def summarise(self, values: dict[str, Tensor]) -> dict[str, float]:
        """See :meth:`ModelMetric.summarise`."""
        count = len(values['student'])
        medians = {role: float(value.quantile(0.5)) for role, value in values.items()}
        found = {role: median for role, median in medians.items() if median < float('inf')}
        for role in sorted(set(values) - set(found)):
            self.warn(
                f'no way to the boundary of the {role} was found for most of {count} samples that '
                'both networks classify correctly, so there is no median'
            )
        return dict(samples=count, **found)
