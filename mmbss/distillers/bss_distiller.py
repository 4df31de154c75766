"""Distillation at the teacher's decision boundary (Heo et al., AAAI 2019, arXiv 1805.05532)."""

from contextlib import nullcontext
from typing import Any, cast

import torch
from mmengine.dist import all_reduce, get_world_size
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.acceleration.recorded_pass import RecordedPass
from mmbss.attacks.base import STATISTICS
from mmbss.boundary.search import BoundarySamples, BoundarySearch, check_choice
from mmbss.distillers.batch_norm import frozen_statistics, has_batch_norm, split_batch
from mmbss.distillers.distiller import Distiller, build_loss, check_finite, class_labels
from mmbss.engine.config_checks import build_checked, check_keys
from mmbss.engine.errors import ConfigError
from mmbss.losses import DistillationLoss
from mmbss.registry import ATTACKS, MODELS

#: What a step at the boundary adds to the log.
BOUNDARY_NAMES = ('loss_bss', 'bss_samples', *(f'bss_{name}' for name in STATISTICS))

#: What BatchNorm of the student does with boundary samples.
BATCH_NORM = ('own', 'joint', 'frozen_statistics')


@MODELS.register_module()
class BSSDistiller(Distiller):
    """A :class:`Distiller` that also learns the teacher's answer at boundary supporting samples.

    In each batch the samples that both networks classify correctly and see most differently are
    moved onto the teacher's boundary toward a class drawn from the teacher's probabilities, and
    the student learns the teacher's logits there (equation 8 of the paper, with ``losses`` as
    the term of Hinton et al.). While the boundary loss has weight 0, no attack runs.

    The log gets ``bss_samples``, the number of base samples, and of what is attacked the shares
    ``bss_accepted``, ``bss_third_class``, ``bss_not_crossed``, and the means ``bss_steps`` and
    ``bss_gap`` (``|p_b - p_k|``).

    Args:
        boundary: What happens at the boundary:

            - ``attack`` (dict): config of an :class:`~mmbss.attacks.Attack` in ``ATTACKS``.
            - ``loss`` (dict): config of the loss there; it is called ``loss_bss``.
            - ``base_samples`` (str): which of the samples that both networks classify correctly
              are attacked: those of largest ``'disagreement'`` (default), at ``'random'``, or
              ``'all'``.
            - ``num_base_samples`` (int): most samples attacked in a batch, except with ``'all'``.
              Default 64.
            - ``target_class`` (str): toward which class: one drawn by the teacher's
              ``'probability'`` (default) or ``'uniform'``, the ``'second_most_probable'``, or
              ``'all'`` but the base class, their losses weighted by the probability; that takes
              up to K - 1 times as long, so see ``min_target_probability``. The loss is then
              computed a sample at a time (:meth:`DistillationLoss.per_sample`).
            - ``min_target_probability`` (float): with ``'all'``, classes that are not more
              probable than this among the wrong ones are left out. Default 0.0.
            - ``train_on`` (str): ``'accepted'`` samples only, as in the paper, or ``'all'``
              that were attacked, as in the authors' code. Default ``'accepted'``.
            - ``batch_norm`` (str): how the student's BatchNorm takes the boundary samples.
              ``'own'``: as a batch of their own, whose statistics enter the running ones, as in
              the authors' code (default). ``'frozen_statistics'``: as a batch of their own that
              leaves the running statistics alone. ``'joint'``: in one batch with the clean
              samples, which share its statistics; since base samples are chosen by the
              student's answers, it answers the clean batch once more beforehand, without
              gradient and by that batch's statistics, and the teacher too.
            - ``bounds`` (tuple): lowest and highest value of an input in the teacher's
              normalised units. Default None: the pixel range [0, 255].
            - ``reuse_clean_pass`` (bool): spare the attack its first forward pass: the teacher
              is traced once for each shape of a batch, which takes seconds, and keeps what the
              gradient needs of its answer to the clean batch, which takes memory. The results
              are the same up to rounding. Not with features of the teacher. Default False.
        **distiller: Arguments of :class:`Distiller`.

    Raises:
        ValueError: If an argument is out of its range, or labels are soft (mixup, CutMix).
    """

    boundary_loss: DistillationLoss

    def __init__(self, boundary: dict[str, Any] | None = None, **distiller: Any) -> None:
        super().__init__(**distiller)
        if getattr(self.data_preprocessor, 'batch_augments', None) is not None:
            raise ConfigError(
                'BSSDistiller needs one hard label a sample, but train_cfg mixes them (mixup, '
                'CutMix): remove train_cfg.augments, or use mmbss.Distiller'
            )
        check_keys(boundary or {}, self._build_boundary, 'boundary')
        self._build_boundary(**(boundary or {}))

    def _build_boundary(
        self,
        attack: dict[str, Any],
        loss: dict[str, Any],
        base_samples: str = 'disagreement',
        num_base_samples: int = 64,
        target_class: str = 'probability',
        min_target_probability: float = 0.0,
        train_on: str = 'accepted',
        batch_norm: str = 'own',
        bounds: tuple[float, float] | None = None,
        reuse_clean_pass: bool = False,
    ) -> None:
        check_choice('batch_norm', batch_norm, BATCH_NORM)
        self.attack = build_checked(ATTACKS, attack, 'boundary.attack')
        self.boundary_loss = cast(DistillationLoss, build_loss(loss, 'boundary.loss'))
        self.find_boundary_samples = BoundarySearch(
            attack=self.attack,
            base_samples=base_samples,
            num_base_samples=num_base_samples,
            target_class=target_class,
            min_target_probability=min_target_probability,
            train_on=train_on,
            bounds=bounds,
        )
        self.batch_norm = batch_norm
        self.reuse_clean_pass = reuse_clean_pass
        # the teacher's answer to the batch at hand, until its boundary samples are found
        self.recorded: RecordedPass | None = None
        # of the batch at hand, while it runs with batch_norm='joint'
        self.joined: BoundarySamples | None = None
        self.joined_features: Any = None

    @property
    def loss_modules(self) -> dict[str, nn.Module]:
        """See :attr:`Distiller.loss_modules`; the boundary loss is ``loss_bss``."""
        return {**super().loss_modules, 'loss_bss': self.boundary_loss}

    @property
    def needs_teacher(self) -> bool:
        """Whether any loss that looks at the teacher has a weight."""
        return super().needs_teacher or self.boundary_loss.loss_weight > 0

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """The losses of :meth:`Distiller.loss`; at the boundary all 0 where nothing is done."""
        # mmengine would go on logging the last value of a name that is no longer returned
        nothing = dict.fromkeys(BOUNDARY_NAMES, inputs.new_zeros(()))
        if self.batch_norm != 'joint' or self.boundary_loss.loss_weight == 0:
            return nothing | super().loss(inputs, data_samples)
        check_finite(inputs)
        with torch.no_grad(), frozen_statistics(self):
            student_logits = self.head(self.extract_feat(inputs))
        self.joined = self.find_boundary_samples(
            self.teacher,
            inputs,
            student_logits,
            self.ask_teacher(inputs, data_samples),
            _hard_labels(data_samples),
            self._take_recorded(),
        )
        try:
            return nothing | super().loss(inputs, data_samples)
        finally:
            self.joined = self.joined_features = None

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> Any:
        """See :meth:`Distiller.extract_feat`; joined samples pass too, and are cut off again."""
        if self.joined is None:
            return super().extract_feat(inputs, stage)
        features = super().extract_feat(torch.cat([inputs, self.joined.inputs]), stage)
        features, self.joined_features = split_batch(features, len(inputs))
        return features

    def distil_features(
        self,
        student_features: dict[str, Tensor],
        teacher_features: dict[str, Tensor],
        data_samples: list[DataSample],
    ) -> dict[str, Tensor]:
        """The losses of :meth:`Distiller.distil_features`, on the clean samples alone."""
        if self.joined is not None:
            count = len(data_samples)
            total = count + len(self.joined.inputs)
            # a feature may have several rows a sample, such as the windows of an image
            student_features = {
                path: feature[: len(feature) * count // total]
                for path, feature in student_features.items()
            }
        return super().distil_features(student_features, teacher_features, data_samples)

    def distil(
        self,
        inputs: Tensor,
        student_logits: Tensor,
        teacher_logits: Tensor,
        data_samples: list[DataSample],
    ) -> dict[str, Tensor]:
        """The losses of :meth:`Distiller.distil`, ``loss_bss`` and the attack's statistics."""
        losses = super().distil(inputs, student_logits, teacher_logits, data_samples)
        if self.boundary_loss.loss_weight > 0:
            found = self.joined or self.find_boundary_samples(
                self.teacher,
                inputs,
                student_logits.detach(),
                teacher_logits,
                _hard_labels(data_samples),
                self._take_recorded(),
            )
            losses |= self.distil_at_boundary(found)
        return losses

    def ask_teacher(self, inputs: Tensor, data_samples: list[DataSample] | None) -> Tensor:
        """See :meth:`Distiller.ask_teacher`; recorded where an attack is to go on from there."""
        attack_follows = self.boundary_loss.loss_weight > 0 and self.joined is None
        # without data samples, hooks wait for features, which a traced network does not call
        can_record = data_samples is not None and len(inputs) > 1 and self.teacher.cache is None
        if not (self.reuse_clean_pass and attack_follows and can_record):
            return super().ask_teacher(inputs, data_samples)
        self.recorded = self.teacher.record(inputs)
        return self.recorded.logits

    def _take_recorded(self) -> RecordedPass | None:
        recorded, self.recorded = self.recorded, None
        return recorded

    def distil_at_boundary(self, found: BoundarySamples) -> dict[str, Tensor]:
        """``loss_bss``, where there are samples to learn, and the attack's statistics.

        The loss is the mean over the samples of all processes, however unevenly these have found
        them: it is scaled for a mean of the gradients over the processes, as DDP and FSDP take it.
        """
        # alone, a sample without spatial extent has no statistics to be normalised by
        least = 2 if self.joined is None and has_batch_norm(self) else 1
        samples = len(found.inputs) if len(found.inputs) >= least else 0
        weight = found.inputs.new_tensor(float(samples), dtype=torch.float32)
        if samples and found.weights is not None:
            weight = found.weights.sum()
        total = weight.clone()
        all_reduce(total)
        if not samples:
            return found.statistics
        logits = self.head(self._features_at_boundary(found))
        if found.weights is None:
            loss = self.boundary_loss(logits, found.teacher_logits, found.labels)
        else:
            losses = self.boundary_loss.per_sample(logits, found.teacher_logits, found.labels)
            loss = (found.weights * losses).sum() / weight
        if get_world_size() > 1:
            loss = loss * (weight * get_world_size() / total)
        return {**found.statistics, 'loss_bss': loss}

    def _features_at_boundary(self, found: BoundarySamples) -> Any:
        if self.joined is not None:
            return self.joined_features
        frozen = self.batch_norm == 'frozen_statistics'
        with frozen_statistics(self) if frozen else nullcontext():
            return self.extract_feat(found.inputs)


def _hard_labels(data_samples: list[DataSample]) -> Tensor:
    """(N,) int64 labels of samples that have exactly one each."""
    labels = class_labels(data_samples)
    mixed = 'gt_score' in data_samples[0] and any(
        sample.gt_score.max() < 1 or sample.gt_score.sum() > 1 for sample in data_samples
    )
    if mixed or len(labels) != len(data_samples):
        raise ConfigError(
            'BSSDistiller needs one hard label a sample, but the batch has soft or multiple '
            'labels: use mmbss.Distiller, or a dataset with a single gt_label'
        )
    return labels
