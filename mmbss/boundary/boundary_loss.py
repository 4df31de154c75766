"""The boundary as a term of the loss (Heo et al., AAAI 2019, arXiv 1805.05532)."""

from dataclasses import replace
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

from mmbss.attacks import Attack
from mmbss.attacks.base import STATISTICS
from mmbss.attacks.functional import project
from mmbss.boundary.search import (
    BoundarySamples,
    check_choice,
    check_search,
    find_boundary_samples,
)
from mmbss.engine.build import build_checked
from mmbss.engine.errors import ConfigError
from mmbss.losses import Batch, DistillationLoss, TeacherBatch, Term
from mmbss.registry import ATTACKS, MODELS

#: Whose answers say which samples may be base samples.
CANDIDATES = ('both_correct', 'teacher_correct')
#: How the student's BatchNorm takes boundary samples.
BATCH_NORM = ('own', 'joint')


@MODELS.register_module()
class BoundaryLoss(Term):
    """The student learns the teacher's answer at the teacher's decision boundary.

    In each batch, base samples are moved onto the teacher's boundary, and the student learns the
    teacher's logits there (equation 8 of the paper). The log gets ``samples``, the number of base
    samples, and of what is attacked the shares ``accepted``, ``third_class``, ``not_crossed``, and
    the means ``steps`` and ``gap`` (``|p_b - p_k|``), each behind the name of the term.

    Where the student's answers choose the base samples, as published, the boundary samples pass
    the student after the clean batch, and BatchNorm normalises them on their own. Where the teacher
    alone chooses, they join the clean batch: one pass, one BatchNorm batch.

    Args:
        attack: Config of an :class:`~mmbss.attacks.Attack` in ``ATTACKS``.
        loss: Config of the :class:`~mmbss.losses.DistillationLoss` there, without a weight of its
            own.
        candidates: Which samples may be base samples: those that ``'both_correct'``, student and
            teacher, classify correctly, or ``'teacher_correct'``.
        base_samples: Which of these are attacked: those of largest ``'disagreement'``, at
            ``'random'``, or ``'all'``. Default: by disagreement where the student is asked, else
            at random.
        num_base_samples: Most samples attacked in a batch, except with ``'all'``.
        target_class: Toward which class: one drawn by the teacher's ``'probability'`` or
            ``'uniform'``, the ``'second_most_probable'``, or ``'all'`` but the base class, their
            losses weighted by the probability; that takes up to K - 1 times as long. The loss is
            then computed a sample at a time (:meth:`DistillationLoss.per_sample`).
        min_target_probability: With ``'all'``, classes that are not more probable than this among
            the wrong ones are left out.
        train_on: ``'accepted'`` samples only, as in the paper, or ``'all'`` that were attacked, as
            in the authors' code.
        batch_norm: ``'own'`` or ``'joint'``, as said above; ``'joint'`` needs
            ``candidates='teacher_correct'``, whose default it is.
        bounds: Lowest and highest value of an input in the teacher's normalised units. Default:
            the pixel range [0, 255].
        loss_weight: See :class:`~mmbss.losses.Term`.

    Raises:
        ConfigError: If an argument is out of its range, or in training if labels are soft.
    """

    needs_hard_labels = True
    statistics = ('samples', *STATISTICS)

    def __init__(
        self,
        attack: dict[str, Any],
        loss: dict[str, Any],
        candidates: str = 'both_correct',
        base_samples: str | None = None,
        num_base_samples: int = 64,
        target_class: str = 'probability',
        min_target_probability: float = 0.0,
        train_on: str = 'accepted',
        batch_norm: str | None = None,
        bounds: tuple[float, float] | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.attack: Attack = build_checked(ATTACKS, attack, 'attack')
        self.loss: DistillationLoss = build_checked(MODELS, loss, 'loss')
        if not isinstance(self.loss, DistillationLoss):
            raise ConfigError(
                f'loss: {type(self.loss).__name__} is no loss on logits: derive it from '
                'mmbss.losses.DistillationLoss'
            )
        if self.loss.loss_weight != 1:
            raise ConfigError(
                f'loss.loss_weight={self.loss.loss_weight} would be a second weight: set '
                'loss_weight of the term instead'
            )
        check_choice('candidates', candidates, CANDIDATES)
        asks_student = candidates == 'both_correct'
        if base_samples is None:
            base_samples = 'disagreement' if asks_student else 'random'
        if batch_norm is None:
            batch_norm = 'own' if asks_student else 'joint'
        check_choice('batch_norm', batch_norm, BATCH_NORM)
        check_search(base_samples, num_base_samples, target_class, min_target_probability, train_on)
        if not asks_student and base_samples == 'disagreement':
            raise ConfigError(
                "base_samples='disagreement' looks at the student's answers, "
                "candidates='teacher_correct' does not: set base_samples to 'random' or 'all'"
            )
        if asks_student and batch_norm == 'joint':
            raise ConfigError(
                "batch_norm='joint' passes boundary samples together with the clean batch, before "
                "the student's answers are known: set candidates='teacher_correct'"
            )
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ConfigError(f'bounds must be (lowest, highest), got {bounds}')
        if bounds is not None and self.attack.in_pixels:
            raise ConfigError(
                f'attack: {type(self.attack).__name__} is measured in pixels, which are read off '
                f'the pixel bounds, but bounds={bounds} replaces them: remove bounds'
            )
        self.asks_student = asks_student
        self.joins = batch_norm == 'joint'
        self.bounds = bounds
        self.search: dict[str, Any] = dict(
            base_samples=base_samples,
            num_base_samples=num_base_samples,
            target_class=target_class,
            min_target_probability=min_target_probability,
            train_on=train_on,
        )

    def find(self, batch: TeacherBatch) -> BoundarySamples:
        """The boundary samples of a batch, in the student's normalisation.

        Raises:
            ConfigError: If a sample has no single class.
        """
        if not batch.labels_are_hard:
            raise ConfigError(
                'BoundaryLoss needs one hard label a sample, but the batch has soft or multiple '
                'labels: leave the term out, or use a dataset with a single gt_label'
            )
        teacher = batch.teacher
        student_logits = None
        if self.asks_student:
            assert isinstance(batch, Batch)
            student_logits = batch.student_logits.detach()
        found = find_boundary_samples(
            teacher.logits,
            # another normalisation rounds a pixel at a bound to a little beyond it
            project(teacher.from_student(batch.inputs), teacher.pixel_bounds),
            batch.labels,
            self.attack,
            teacher_logits=batch.teacher_logits,
            student_logits=student_logits,
            bounds=self.bounds or teacher.pixel_bounds,
            **self.search,
        )
        return replace(found, inputs=teacher.to_student(found.inputs).to(batch.inputs.dtype))

    def bring(self, batch: TeacherBatch) -> BoundarySamples | None:
        """See :meth:`~mmbss.losses.Term.bring`."""
        return self.find(batch) if self.joins else None

    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`~mmbss.losses.Term.compute`; the loss is 0 where no sample was found.

        It is the mean over the samples of all processes, however unevenly these have found them:
        it is scaled for a mean of the gradients over the processes, as DDP and FSDP take it.
        """
        found: BoundarySamples = batch.brought if self.joins else self.find(batch)
        count = len(found.inputs)
        if not self.joins and count < batch.least_asked:
            count = 0
        weight = torch.tensor(float(count), device=batch.inputs.device)
        if count and found.weights is not None:
            weight = found.weights.sum()
        total = weight.clone()
        all_reduce(total)
        if not count:
            return self.nothing(batch.inputs), found.statistics
        outputs = batch.brought_outputs if self.joins else batch.ask_student(found.inputs)
        assert outputs is not None
        if found.weights is None:
            loss = self.loss(outputs.logits, found.teacher_logits, found.labels)
        else:
            losses = self.loss.per_sample(outputs.logits, found.teacher_logits, found.labels)
            loss = (found.weights * losses).sum() / weight
        if get_world_size() > 1:
            loss = loss * (weight * get_world_size() / total)
        return self.loss_weight * loss, found.statistics
