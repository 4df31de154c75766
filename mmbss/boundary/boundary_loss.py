"""The boundary as a term of the loss (Heo et al., AAAI 2019, arXiv 1805.05532)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

from mmbss.attacks import Attack
from mmbss.attacks.base import STATISTICS
from mmbss.attacks.functional import project
from mmbss.boundary.search import BoundarySamples, find_boundary_samples
from mmbss.boundary.search_checks import check_search
from mmbss.engine.build import build_checked
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_choice
from mmbss.losses import Batch, TeacherBatch, Term
from mmbss.losses.distillation_loss import build_inner_loss
from mmbss.registry import ATTACKS, MODELS

#: How the student's BatchNorm takes boundary samples.
BATCH_NORM = ('own', 'joint')
#: Where the student's input, or the teacher's answer, is taken from.
PLACES = ('boundary', 'base')


@MODELS.register_module()
class BoundaryLoss(Term):
    """The student learns the teacher's answer at the teacher's decision boundary.

    In each batch, base samples are moved onto the teacher's boundary, and the student learns the
    teacher's logits there (equation 8 of the paper). The log gets ``samples``, the number of base
    samples, ``queries``, the number of inputs that the search has put to the teacher, and of what
    is attacked the shares ``accepted``, ``third_class``, ``not_crossed``, and
    the means ``steps`` and ``gap`` (``|p_b - p_k|``), each behind the name of the term.

    Where the student's answers choose the base samples, as published, the boundary samples pass
    the student after the clean batch, and BatchNorm normalises them on their own. Where the teacher
    alone chooses, they join the clean batch: one pass, one BatchNorm batch.

    Args:
        attack: Config of an :class:`~mmbss.attacks.Attack` in ``ATTACKS``.
        loss: Config of the :class:`~mmbss.losses.DistillationLoss` there, without a weight of its
            own.
        base_class: The class of a sample is its ``'label'``, or what the ``'teacher'`` decides:
            then no labels are needed, and the teacher is right on every sample.
        candidates: Which samples may be base samples: those that ``'both_correct'``, student and
            teacher, classify correctly, ``'teacher_correct'``, or ``'all'``.
        base_samples: Which of these are attacked: those of largest ``'disagreement'``, at
            ``'random'``, or ``'all'``. Default: by disagreement where the student is asked, else
            at random.
        num_base_samples: Most samples attacked in a batch, except with ``'all'``; by default 64.
        batch_share: The same as a share of the batch, in (0, 1].
        target_class: Toward which class: one drawn by the teacher's ``'probability'``, the default,
            or the ``'second_most_probable'``.
        teacher_says: Whether the teacher's ``'logits'`` are used, or no more than its ``'class'``;
            see :func:`find_boundary_samples`.
        train_on: ``'accepted'`` samples only, as in the paper, or ``'all'`` that were attacked, as
            in the authors' code.
        student_input: A control: the student sees the ``'boundary'`` sample, or its ``'base'``
            sample.
        teacher_answer: A control: it learns what the teacher says at the ``'boundary'`` sample, or
            at the ``'base'`` sample.
        batch_norm: ``'own'`` or ``'joint'``, as said above; ``'joint'`` goes with
            all ``candidates`` but ``'both_correct'``, and is the default there.
        bounds: Lowest and highest value of an input in the teacher's normalised units. Default:
            the pixel range [0, 255].
        loss_weight: See :class:`~mmbss.losses.Term`.

    Raises:
        ConfigError: If an argument is out of its range, or in training if labels are soft or
            missing.
    """

    statistics = ('samples', 'queries', *STATISTICS)

    def __init__(
        self,
        attack: dict[str, Any],
        loss: dict[str, Any],
        base_class: str = 'label',
        candidates: str = 'both_correct',
        base_samples: str | None = None,
        num_base_samples: int | None = None,
        batch_share: float | None = None,
        target_class: str | None = None,
        teacher_says: str = 'logits',
        train_on: str = 'accepted',
        student_input: str = 'boundary',
        teacher_answer: str = 'boundary',
        batch_norm: str | None = None,
        bounds: tuple[float, float] | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.attack: Attack = build_checked(ATTACKS, attack, 'attack')
        self.loss = build_inner_loss(loss)
        asks_student = candidates == 'both_correct'
        if base_samples is None:
            base_samples = 'disagreement' if asks_student else 'random'
        if batch_norm is None:
            batch_norm = 'own' if asks_student else 'joint'
        self.search: dict[str, Any] = dict(
            base_class=base_class,
            candidates=candidates,
            base_samples=base_samples,
            num_base_samples=64 if num_base_samples is None else num_base_samples,
            target_class=target_class,
            teacher_says=teacher_says,
            train_on=train_on,
        )
        check_choice(None, BATCH_NORM, batch_norm=batch_norm)
        check_choice(None, PLACES, student_input=student_input, teacher_answer=teacher_answer)
        if student_input == teacher_answer == 'base':
            raise ConfigError(
                "student_input='base' with teacher_answer='base' is distillation of clean samples, "
                "in which the boundary has no part: set one of them to 'boundary'"
            )
        if teacher_says == 'class' and teacher_answer == 'base':
            raise ConfigError(
                "teacher_answer='base' takes the teacher's logits, of which teacher_says='class' "
                "knows none: set teacher_says='logits'"
            )
        if not asks_student and base_samples == 'disagreement':
            raise ConfigError(
                f"base_samples='disagreement' looks at the student's answers, "
                f"candidates={candidates!r} does not: set base_samples to 'random' or 'all'"
            )
        if asks_student and batch_norm == 'joint':
            raise ConfigError(
                "batch_norm='joint' passes boundary samples together with the clean batch, before "
                "the student's answers are known: set candidates='teacher_correct'"
            )
        if batch_share is not None:
            if not 0 < batch_share <= 1:
                raise ConfigError(f'batch_share must be above 0 and at most 1, got {batch_share}')
            if num_base_samples is not None or base_samples == 'all':
                raise ConfigError(
                    f'batch_share={batch_share} and num_base_samples={num_base_samples} or '
                    f'base_samples={base_samples!r} both say how many: remove one of them'
                )
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ConfigError(f'bounds must be (lowest, highest), got {bounds}')
        if bounds is not None and self.attack.in_pixels:
            raise ConfigError(
                f'attack: {type(self.attack).__name__} is measured in pixels, which are read off '
                f'the pixel bounds, but bounds={bounds} replaces them: remove bounds'
            )
        check_search(self.attack, **self.search)
        self.asks_student = asks_student
        self.joins = batch_norm == 'joint'
        self.bounds = bounds
        self.batch_share = batch_share
        self.student_input = student_input
        self.teacher_answer = teacher_answer
        self.needs_labels = base_class == 'label'
        self.needs_hard_labels = self.needs_labels
        # the student answers mixed images alone, so it cannot choose among unmixed ones
        self.needs_unmixed = not asks_student

    @contextmanager
    def rehearsing(self) -> Iterator[None]:
        """Attack and learn any sample, whatever the networks say of it before the training."""
        search = self.search
        self.search = search | dict(base_class='teacher', candidates='all', train_on='all')
        try:
            yield
        finally:
            self.search = search

    def find(self, batch: TeacherBatch) -> BoundarySamples:
        """The boundary samples of a batch, in the student's normalisation."""
        clean = (batch.unmixed or batch) if self.needs_unmixed else batch
        teacher = clean.teacher
        student_logits = None
        if self.asks_student:
            assert isinstance(batch, Batch)
            student_logits = batch.student_logits.detach()

        def ask_student(points: Tensor) -> Tensor:
            return batch.peek_student(teacher.to_student(points).to(batch.inputs.dtype))

        search = dict(self.search)
        if self.batch_share is not None:
            search['num_base_samples'] = self._most_of(len(clean.inputs))
        inputs = teacher.from_student(clean.inputs)
        if self.bounds is None:
            # another normalisation rounds a pixel at a bound to a little beyond it
            inputs = project(inputs, teacher.pixel_bounds)
        found = find_boundary_samples(
            teacher.logits,
            inputs,
            clean.labels,
            self.attack,
            teacher_logits=clean.teacher_logits,
            student_logits=student_logits,
            ask_student=ask_student,
            bounds=self.bounds or teacher.pixel_bounds,
            **search,
        )
        if self.student_input == 'base':
            inputs = clean.inputs[found.rows]
        else:
            inputs = teacher.to_student(found.inputs).to(clean.inputs.dtype)
        if self.teacher_answer == 'base':
            found = replace(found, teacher_logits=clean.teacher_logits[found.rows])
        return replace(found, inputs=inputs)

    def bring(self, batch: TeacherBatch) -> BoundarySamples | None:
        """See :meth:`~mmbss.losses.Term.bring`."""
        return self.find(batch) if self.joins else None

    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`~mmbss.losses.Term.compute`; the loss is 0 where no sample was found.

        It is the mean over the samples of all processes, however unevenly these have found them:
        it is scaled for a mean of the gradients over the processes, as DDP takes it.
        """
        if batch.least_asked > 1 and self.batch_share is None:  # of a share the last batch has less
            self.check_batch_size(max(len(batch.inputs), batch.least_asked))
        found: BoundarySamples = batch.brought if self.joins else self.find(batch)
        count = len(found.inputs)
        passes = batch.brought_outputs is not None if self.joins else count >= batch.least_asked
        count = count if passes else 0
        own = torch.full((), float(count), device=batch.inputs.device)
        total = own.clone()
        all_reduce(total)
        if not count:
            return self.nothing(batch.inputs), found.statistics
        outputs = batch.brought_outputs if self.joins else batch.ask_student(found.inputs)
        assert outputs is not None
        loss = self.loss(outputs.logits, found.teacher_logits, found.labels)
        if get_world_size() > 1:
            loss = loss * (own * get_world_size() / total)
        return self.loss_weight * loss, found.statistics

    def check_batch_size(self, size: int) -> None:
        """Refuse batches of which none has enough boundary samples for the student's BatchNorm.

        Args:
            size: Images of a whole batch; the last one of an epoch may be smaller.

        Raises:
            ConfigError: If samples that pass alone are fewer than two.
        """
        if self.joins or min(size, self._most_of(size)) > 1:
            return
        given = f'num_base_samples={self.search["num_base_samples"]}'
        if self.batch_share is not None:
            given = f'batch_share={self.batch_share}'
        if size == 1:
            given = 'train_dataloader.batch_size=1'
        raise ConfigError(
            f'{given} leaves one boundary sample in a batch, and BatchNorm of the student needs '
            "two that pass alone: take more, or candidates='teacher_correct' with "
            "batch_norm='joint', whose samples join the clean batch"
        )

    def _most_of(self, size: int) -> int:
        """How many samples of a batch of a size are attacked at most."""
        if self.search['base_samples'] == 'all':
            return size
        if self.batch_share is None:
            return self.search['num_base_samples']
        return max(round(self.batch_share * size), 1)
