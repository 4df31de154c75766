"""How alike student and teacher change their minds across a boundary."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbss.attacks.functional import ToLogits
from mmbss.boundary.queries import part_size
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_at_least, check_choice, check_positive
from mmbss.metrics.functional import class_probability, other_classes, same_decision
from mmbss.metrics.teacher_metric import TeacherMetric
from mmbss.registry import METRICS


def transition_curves(
    walker: ToLogits,
    follower: ToLogits,
    samples: Tensor,
    target: Tensor,
    num_steps: int,
    step_size: float,
) -> tuple[Tensor, Tensor]:
    """Probabilities of the target class along a walk toward it (arXiv 1905.09768, algorithm 2).

    Its steps are ``x <- x - xi * grad_x CE(walker(x), j)``; the follower is asked there too.

    Args:
        walker: Maps (N, C, H, W) samples to (N, K) logits, each row independent of the others.
        follower: The same.
        samples: (N, C, H, W) where the walks start.
        target: (N,) int64 classes j.
        num_steps: How many points of each walk are compared, the start among them.
        step_size: xi, in units of the samples.

    Returns:
        Probabilities of the walker and of the follower, (N, num_steps) float32 each.
    """
    points, curves = samples.detach(), (list[Tensor](), list[Tensor]())
    for _ in range(num_steps):
        with torch.enable_grad():
            points.requires_grad_()
            logits = walker(points)
            # the sum, so that a walk does not depend on those beside it
            loss = F.cross_entropy(logits, target, reduction='sum')
            (gradient,) = torch.autograd.grad(loss, points)
        points = points.detach()
        curves[0].append(class_probability(logits.detach(), target))
        curves[1].append(class_probability(follower(points), target))
        points = points - step_size * gradient
    return torch.stack(curves[0], dim=1), torch.stack(curves[1], dim=1)


@METRICS.register_module()
class TransitionError(TeacherMetric):
    r"""Mean transition error between student and teacher (Micaelli and Storkey, NeurIPS 2019).

    From each sample that both assign to the same class, right or wrong, walks lead across the
    boundary toward other classes j, see :func:`transition_curves`. ``error`` is the mean over
    samples n, classes j and steps k of how differently the two see class j there,

    .. math:: \frac{1}{N} \sum_n \frac{1}{J} \sum_j \frac{1}{K} \sum_k
        | p_j^{student}(x_{njk}) - p_j^{teacher}(x_{njk}) |,

    0 for the teacher itself, 1 at most. As there, the walk is made in normalised images, here the
    teacher's, and is not clipped to pixels that an image can have.

    Also in the result: the share of the walks at whose end the network that is walked on gives
    class j more than half of its probability (``crossed``), and of those at whose end the other
    one does (``followed``), in percent; and the number of ``samples``. Without such a sample all
    the rest is left out, with a warning.

    Args:
        walk_on: Whose boundary is crossed, ``'student'`` as in the paper, or ``'teacher'``, whose
            walks are the same for every student but for the samples that they start from.
        num_targets: J, how many other classes to walk to from each sample, drawn from the seed;
            None for all as in the paper.
        num_steps: K; at least 2.
        step_size: xi; positive.
        teacher: See :class:`TeacherMetric`.
        **kwargs: ``num_samples``, ``seed`` and other arguments of :class:`ModelMetric`.

    Raises:
        ConfigError: If a parameter is out of its range, and as :class:`TeacherMetric` does.
    """

    default_prefix = 'transition'
    fields = ('error', 'crossed', 'followed')
    nothing = (
        'student and teacher decide for the same class on no sample, so there is nowhere to walk '
        'from'
    )

    def __init__(
        self,
        walk_on: str = 'student',
        num_targets: int | None = 1,
        num_steps: int = 30,
        step_size: float = 1.0,
        teacher: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(teacher, **kwargs)
        check_choice(self, ('student', 'teacher'), walk_on=walk_on)
        check_at_least(self, 2, num_steps=num_steps)
        check_positive(self, step_size=step_size)
        check_at_least(self, 1, num_targets=num_targets)
        self.walk_on = walk_on
        self.num_targets = num_targets
        self.num_steps = num_steps
        self.step_size = step_size

    def attach(self, model: nn.Module, dataset_size: int) -> None:
        """See :meth:`TeacherMetric.attach`."""
        super().attach(model, dataset_size)
        if self.walk_on == 'teacher' and not self.teacher.differentiable:
            raise ConfigError(
                "TransitionError: walk_on='teacher' needs a gradient, which this teacher does not "
                "give: set walk_on='student'"
            )

    def measure(
        self, inputs: Tensor, labels: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`ModelMetric.measure`; about the samples that both assign to one class."""
        samples = self.teacher.from_student(inputs)
        student, teacher = self.student_logits(samples), self.teacher_logits(samples)
        walked = same_decision(student, teacher) & (teacher.shape[1] > 1)
        if not walked.any():
            return walked, {}
        walker, follower = self.student_logits, self.teacher_logits
        if self.walk_on == 'teacher':
            walker, follower = follower, walker
        start, num_classes = teacher[walked].argmax(dim=1), teacher.shape[1]
        targets = other_classes(start, num_classes, uniforms[walked], self.num_targets)
        starts = walked.nonzero().expand(targets.shape)
        walks = torch.stack([starts.flatten(), targets.flatten()])
        # a sample has as many walks as there are targets
        curves = [
            transition_curves(
                walker, follower, samples[rows], classes, self.num_steps, self.step_size
            )
            for rows, classes in walks.split(part_size(samples), dim=1)
        ]
        own, other = (
            torch.cat(parts).view(*targets.shape, self.num_steps)
            for parts in zip(*curves, strict=True)
        )
        return walked, dict(
            error=(own - other).abs().mean(dim=(1, 2)),
            crossed=100 * (own[:, :, -1] > 0.5).float().mean(dim=1),
            followed=100 * (other[:, :, -1] > 0.5).float().mean(dim=1),
        )

    def summarise(self, values: dict[str, Tensor]) -> dict[str, float]:
        """See :meth:`ModelMetric.summarise`."""
        means = {name: float(value.mean()) for name, value in values.items()}
        return dict(means, samples=len(values['error']))
