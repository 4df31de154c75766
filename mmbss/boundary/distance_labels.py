"""Soft labels of a teacher that says no more than a class, from distances to its boundaries.

The idea is that of DB3KD (Wang, ICML 2021, arXiv 2106.03310): an image is bisected toward images of
every other class, and the distances to where these begin make its soft label. The formula here is
that of a linear teacher, whose margin over a class is proportional to the distance from it along a
line: a class is the less probable, the farther away it begins.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmbss.attacks.functional import ToLogits, project
from mmbss.attacks.partners import between
from mmbss.attacks.root_search import bisect
from mmbss.boundary.queries import Queries, part_size
from mmbss.engine.ranges import check_at_least
from mmbss.losses import Batch, Term
from mmbss.losses.distillation_loss import build_inner_loss
from mmbss.registry import MODELS

#: How far below that of its own class lies the logit of a class that is as far away as most.
DEPTH = 10.0


def decision_logits(logits: Tensor) -> Tensor:
    """What a teacher would say that says no more than its class: (N, K), 1 and 0, float32."""
    return F.one_hot(logits.argmax(dim=1), logits.shape[1]).float()


def boundary_logits(base: Tensor, other: Tensor, num_classes: int) -> Tensor:
    """Logits on the boundary of two classes, whose distances are both 0: equal, others far below.

    Args:
        base: (N,) int64 classes on the one side.
        other: (N,) int64 classes on the other side.
        num_classes: K.

    Returns:
        (N, K) float32.

    Examples:
        >>> boundary_logits(torch.tensor([0]), torch.tensor([2]), 3)
        tensor([[  0., -10.,   0.]])
    """
    here = torch.stack([base, other], dim=1)
    return base.new_full((len(base), num_classes), -DEPTH, dtype=torch.float32).scatter(1, here, 0)


def distance_logits(distances: Tensor, base: Tensor) -> Tensor:
    """Logits from the distances to the other classes: ``-DEPTH d_k / mean d``, and 0 for its own.

    Args:
        distances: (N, K), NaN where a distance is not known: such a class is taken to be as far
            away as the farthest one that is, of the sample or else of all.
        base: (N,) int64 classes of the samples.

    Returns:
        (N, K) float32.

    Examples:
        >>> distances = torch.tensor([[torch.nan, 1.0, 3.0], [torch.nan, 2.0, torch.nan]])
        >>> distance_logits(distances, torch.tensor([0, 0]))
        tensor([[  0.,  -5., -15.],
                [  0., -10., -10.]])
    """
    distances = distances.float().scatter(1, base.unsqueeze(1), torch.nan)
    mean = distances.nanmean()
    if not mean > 0:  # none is known, or all are 0
        mean = torch.ones_like(mean)
    known = distances.nan_to_num(-torch.inf)
    farthest = known.amax(dim=1, keepdim=True)
    everywhere = torch.where(known.max().isfinite(), known.max(), mean)
    farthest = torch.where(farthest.isfinite(), farthest, everywhere)
    distances = torch.where(distances.isnan(), farthest, distances)
    return (-DEPTH * distances / mean).scatter(1, base.unsqueeze(1), 0.0)


@torch.no_grad()
def boundary_distances(
    teacher: ToLogits, samples: Tensor, logits: Tensor, num_passes: int = 6
) -> Tensor:
    """How far each sample is from every other class, along a line to a sample of that class.

    Only the teacher's decisions are looked at: bisection for where the class begins, toward one
    sample of it that is drawn from the batch. That takes ``num_passes`` questions for every class
    of the batch but its own.

    Args:
        teacher: Maps (N, ...) inputs to (N, K) logits, of which the largest is used.
        samples: (N, ...) floating-point inputs.
        logits: (N, K), the teacher's on them.
        num_passes: Forward passes for each class.

    Returns:
        (N, K) float32 L2 distances, to within ``2 ** -(num_passes + 1)`` of the line; NaN for a
        sample's own class and those that the batch does not hold.
    """
    decisions, classes = logits.argmax(dim=1), torch.arange(logits.shape[1], device=logits.device)
    distances = torch.full_like(logits, torch.nan, dtype=torch.float32)
    is_there = torch.isin(classes, decisions)
    rows, others = (is_there & (classes != decisions.unsqueeze(1))).nonzero(as_tuple=True)
    if not len(rows):
        return distances
    of_class = (decisions == others.unsqueeze(1)).float()
    partners = torch.multinomial(of_class, 1).squeeze(1)
    # a sample has as many lines as the batch has other classes
    for some in torch.stack([rows, others, partners]).split(part_size(samples), dim=1):
        starts, classes, ends = some
        distances[starts, classes] = _distances_to(
            teacher, samples[starts], samples[ends], classes, num_passes
        )
    return distances


def _distances_to(
    teacher: ToLogits, starts: Tensor, ends: Tensor, classes: Tensor, num_passes: int
) -> Tensor:
    """How far from the starts of lines, (M, ...), the (M,) classes of their ends begin: (M,)."""

    def is_beyond(shares: Tensor) -> Tensor:
        return teacher(between(starts, ends, shares)).argmax(dim=1) == classes

    lower, upper = bisect(is_beyond, classes, num_passes)
    return (lower + upper) / 2 * (ends - starts).float().flatten(1).norm(dim=1)


@MODELS.register_module()
class DistanceLabelLoss(Term):
    """The student learns, on clean images, soft labels that a teacher's decisions alone make.

    In each batch, the images are searched for the teacher's boundaries toward images of each other
    class, see :func:`boundary_distances`, and the student learns the logits that follow,
    :func:`distance_logits`; no labels are needed. The teacher is asked ``num_passes`` times for
    every image and class, which the log counts as ``queries``.

    Args:
        loss: Config of the :class:`~mmbss.losses.DistillationLoss`, without a weight of its own.
        num_passes: Forward passes of the bisection toward each class.
        loss_weight: See :class:`~mmbss.losses.Term`.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    statistics = ('queries',)

    def __init__(self, loss: dict[str, Any], num_passes: int = 6, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.loss = build_inner_loss(loss)
        check_at_least(self, 1, num_passes=num_passes)
        self.num_passes = num_passes

    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`~mmbss.losses.Term.compute`."""
        teacher = Queries(batch.teacher.logits)
        samples = project(batch.teacher.from_student(batch.inputs), batch.teacher.pixel_bounds)
        decisions = batch.teacher_logits.argmax(dim=1)
        distances = boundary_distances(
            teacher, samples.float(), batch.teacher_logits, self.num_passes
        )
        soft = distance_logits(distances, decisions)
        loss = self.loss_weight * self.loss(batch.student_logits, soft, decisions)
        return loss, dict(queries=teacher.statistic(batch.inputs))
