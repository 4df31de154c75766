"""How alike the decision boundaries of student and teacher are (Heo et al., AAAI 2019)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmbss.attacks import Attack
from mmbss.attacks.functional import Bounds, ToLogits, pixel_size
from mmbss.boundary.sampling import correct, has_target, target_probabilities
from mmbss.engine.build import build_checked
from mmbss.engine.randomness import unchanged_randomness
from mmbss.metrics.functional import angular_similarity, classes_at, magnitude_similarity
from mmbss.metrics.teacher_metric import TeacherMetric
from mmbss.registry import ATTACKS, METRICS


def compare_boundaries(
    teacher: ToLogits,
    student: ToLogits,
    samples: Tensor,
    base: Tensor,
    target: Tensor,
    attack: Attack,
    bounds: Bounds,
) -> dict[str, Tensor]:
    """Attack two networks alike, with the same random numbers, and compare the perturbations.

    Args:
        teacher: Maps (N, C, H, W) samples to (N, K) logits.
        student: The same.
        samples: (N, C, H, W) base samples, N > 0.
        base: (N,) int64 base classes.
        target: (N,) int64 target classes.
        attack: Attacks both. It has to end in the target class, or the sample is not accepted.
        bounds: Lowest and highest value of a sample: pixels 0 and 255.

    Returns:
        ``mag_sim`` and ``ang_sim``, (N,) float32, similarities of the perturbations in pixels;
        ``teacher_accepted`` and ``student_accepted``, (N,) bool. A similarity means something
        only where both are accepted.
    """
    pixel = pixel_size(bounds, samples)
    # of an attack that draws, such as a partner, both draws are to be the same
    with unchanged_randomness():
        of_teacher = attack(teacher, samples, base, target, bounds)
    results = (of_teacher, attack(student, samples, base, target, bounds))
    perturbations = [(result.samples - samples) / pixel for result in results]
    accepted = [result.success & (result.target == target) for result in results]
    return dict(
        mag_sim=magnitude_similarity(*perturbations),
        ang_sim=angular_similarity(*perturbations),
        teacher_accepted=accepted[0],
        student_accepted=accepted[1],
    )


def distinct_names(classes: Sequence[str]) -> list[str]:
    """Names of classes, with their labels where two have the same, as ImageNet's cranes have.

    Examples:
        >>> distinct_names(['crane', 'dog', 'crane'])
        ['crane_0', 'dog', 'crane_2']
    """
    twice = {name for name, count in Counter(classes).items() if count > 1}
    return [f'{name}_{k}' if name in twice else name for k, name in enumerate(classes)]


@METRICS.register_module()
class BoundarySimilarity(TeacherMetric):
    """MagSim and AngSim: similarity of a student's decision boundary with its teacher's.

    Each sample that both networks classify correctly is moved onto the boundary of either
    network, by the same attack toward the same class, drawn by the teacher's probabilities as in
    training. Of the pairs that are accepted on both sides, the lengths (``mag_sim``, 1 where all
    are equal) and the directions (``ang_sim``, the cosine) of the two perturbations are compared
    in pixels. Without such a pair both are left out, with a warning.

    Also in the result: the number of ``pairs`` that are compared, of ``pairs_tried``, and of
    ``pairs_one_sided``, which are dropped since only one network's sample is accepted.

    Args:
        attack: Config of the attack. Default None: that of the paper.
        teacher: See :class:`TeacherMetric`.
        per_class: Whether to give both also for the samples of each class, as
            ``mag_sim_of_<class>`` and ``ang_sim_of_<class>``.
        **kwargs: ``num_samples``, ``seed`` and other arguments of :class:`ModelMetric`.

    Raises:
        ConfigError: If ``attack`` is no config of an attack, and as :class:`TeacherMetric` does.
    """

    default_prefix = 'boundary_similarity'
    fields = ('label', 'mag_sim', 'ang_sim', 'teacher_accepted', 'student_accepted')

    def __init__(
        self,
        attack: dict[str, Any] | None = None,
        teacher: Any = None,
        per_class: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(teacher, **kwargs)
        attack = attack or dict(type='mmbss.BSSAttack')
        self.attack: Attack = build_checked(ATTACKS, attack, 'BoundarySimilarity.attack')
        self.per_class = per_class

    def measure(
        self, inputs: Tensor, labels: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`ModelMetric.measure`; about the samples that both classify correctly."""
        samples = self.teacher.from_student(inputs)
        logits = self.teacher_logits(samples)
        tried = correct(labels, logits, self.student_logits(samples)) & has_target(logits, labels)
        if not tried.any():
            return tried, {}
        base = labels[tried]
        target = classes_at(target_probabilities(logits[tried], base), uniforms[tried])
        values = compare_boundaries(
            self.teacher_logits,
            self.student_logits,
            samples[tried],
            base,
            target,
            self.attack,
            self.bounds,
        )
        return tried, dict(values, label=base)

    def summarise(self, values: dict[str, Tensor]) -> dict[str, float]:
        """See :meth:`ModelMetric.summarise`."""
        accepted = [values[f'{role}_accepted'].bool() for role in ('teacher', 'student')]
        both = accepted[0] & accepted[1]
        metrics: dict[str, float] = dict(
            pairs=int(both.sum()),
            pairs_tried=len(both),
            pairs_one_sided=int((accepted[0] ^ accepted[1]).sum()),
        )
        similarities = {name: values[name][both] for name in ('mag_sim', 'ang_sim')}
        if not metrics['pairs']:
            self.warn(
                f'none of {len(both)} samples that both networks classify correctly was accepted '
                'on both, so there is no mag_sim and no ang_sim'
            )
            return metrics
        metrics |= {name: float(value.mean()) for name, value in similarities.items()}
        if self.per_class:
            names = distinct_names((self.dataset_meta or {}).get('classes') or ())
            labels = values['label'][both].long()
            for label in labels.unique().tolist():
                of_class = labels == label
                for name, value in similarities.items():
                    key = f'{name}_of_{names[label] if names else label}'
                    metrics[key] = float(value[of_class].mean())
        return metrics
