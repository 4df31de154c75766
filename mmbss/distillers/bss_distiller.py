"""Distillation at the teacher's decision boundary (Heo et al., AAAI 2019, arXiv 1805.05532)."""

from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.attacks.base import STATISTICS
from mmbss.config_check import build_checked, check_keys
from mmbss.distillers.distiller import Distiller, build_loss, class_labels
from mmbss.distillers.sampling import draw_target_classes, select_base_samples
from mmbss.registry import ATTACKS, MODELS

#: What a step at the boundary adds to the log.
BOUNDARY_NAMES = ('loss_bss', 'bss_samples', *(f'bss_{name}' for name in STATISTICS))


@MODELS.register_module()
class BSSDistiller(Distiller):
    """A :class:`Distiller` that also learns the teacher's answer at boundary supporting samples.

    In each batch the samples that both networks classify correctly and see most differently are
    moved onto the teacher's boundary toward a class drawn from the teacher's probabilities, and
    the student learns the teacher's logits there (equation 8 of the paper, with ``losses`` as
    the term of Hinton et al.). While the boundary loss has weight 0, no attack runs.

    The log gets ``bss_samples``, the number of base samples, and of these the shares
    ``bss_accepted``, ``bss_third_class``, ``bss_not_crossed``, and the means ``bss_steps`` and
    ``bss_gap`` (``|p_b - p_k|``).

    Args:
        boundary: What happens at the boundary:

            - ``attack`` (dict): config of an :class:`~mmbss.attacks.Attack` in ``ATTACKS``.
            - ``loss`` (dict): config of the loss there; it is called ``loss_bss``.
            - ``num_base_samples`` (int): most samples attacked in a batch. Default 64.
            - ``train_on`` (str): ``'accepted'`` samples only, as in the paper, or ``'all'``
              that were attacked, as in the authors' code. Default ``'accepted'``.
            - ``bounds`` (tuple): lowest and highest value of an input in the teacher's
              normalised units. Default None: the pixel range [0, 255].
        **distiller: Arguments of :class:`Distiller`.

    Raises:
        ValueError: If an argument is out of its range, or labels are soft (mixup, CutMix).
    """

    def __init__(self, boundary: dict[str, Any] | None = None, **distiller: Any) -> None:
        super().__init__(**distiller)
        if getattr(self.data_preprocessor, 'batch_augments', None) is not None:
            raise ValueError(
                'BSSDistiller needs one hard label a sample, but train_cfg mixes them (mixup, '
                'CutMix): remove train_cfg.augments, or use mmbss.Distiller'
            )
        check_keys(boundary or {}, self._build_boundary, 'boundary')
        self._build_boundary(**(boundary or {}))

    def _build_boundary(
        self,
        attack: dict[str, Any],
        loss: dict[str, Any],
        num_base_samples: int = 64,
        train_on: str = 'accepted',
        bounds: tuple[float, float] | None = None,
    ) -> None:
        if num_base_samples < 1:
            raise ValueError(
                f'boundary.num_base_samples must be at least 1, got {num_base_samples}'
            )
        if train_on not in ('accepted', 'all'):
            raise ValueError(f"boundary.train_on must be 'accepted' or 'all', got {train_on!r}")
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f'boundary.bounds must be (lowest, highest), got {bounds}')
        self.attack = build_checked(ATTACKS, attack, 'boundary.attack')
        self.boundary_loss = build_loss(loss, 'boundary.loss')
        self.num_base_samples = num_base_samples
        self.train_on = train_on
        self.bounds = bounds

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
        return nothing | super().loss(inputs, data_samples)

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
            labels = _hard_labels(data_samples)
            losses |= self.distil_at_boundary(inputs, student_logits, teacher_logits, labels)
        return losses

    def distil_at_boundary(
        self, inputs: Tensor, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """``loss_bss`` and the attack's statistics, as far as there are any.

        Args:
            inputs: (N, C, H, W) images in the student's normalisation.
            student_logits: (N, K) on ``inputs``.
            teacher_logits: (N, K) on ``inputs``.
            labels: (N,) int64 hard labels.
        """
        chosen = select_base_samples(
            student_logits.detach(), teacher_logits, labels, self.num_base_samples
        )
        if not len(chosen):
            return {}
        base = labels[chosen]
        result = self.attack(
            self.teacher.logits,
            self.teacher.from_student(inputs[chosen]),
            base,
            draw_target_classes(teacher_logits[chosen], base),
            self.bounds or self.teacher.pixel_bounds,
        )
        kept = result.success if self.train_on == 'accepted' else torch.ones_like(result.success)
        values = {f'bss_{name}': value for name, value in result.statistics().items()}
        values['bss_samples'] = student_logits.new_tensor(float(len(chosen)))
        # BatchNorm in training mode cannot normalise a single sample without spatial extent
        if kept.sum() > 1:
            boundary_inputs = self.teacher.to_student(result.samples[kept]).to(inputs.dtype)
            logits_there = self.head(self.extract_feat(boundary_inputs))
            values['loss_bss'] = self.boundary_loss(logits_there, result.logits[kept], base[kept])
        return values


def _hard_labels(data_samples: list[DataSample]) -> Tensor:
    """(N,) int64 labels of samples that have exactly one each."""
    labels = class_labels(data_samples)
    mixed = 'gt_score' in data_samples[0] and any(
        sample.gt_score.max() < 1 or sample.gt_score.sum() > 1 for sample in data_samples
    )
    if mixed or len(labels) != len(data_samples):
        raise ValueError(
            'BSSDistiller needs one hard label a sample, but the batch has soft or multiple '
            'labels: use mmbss.Distiller, or a dataset with a single gt_label'
        )
    return labels
