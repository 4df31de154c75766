"""The flow of the solution procedure ("A Gift from Knowledge Distillation", Yim et al. 2017).

Published at CVPR 2017; the paper is on no preprint server.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.losses.feature_loss import FeatureLoss
from mmbss.losses.hint_loss import hint_loss
from mmbss.registry import MODELS


def fsp_matrix(first: Tensor, last: Tensor) -> Tensor:
    """Inner products of the channels of two maps, the mean over the positions (equation 1).

    The larger map is max-pooled to the size of the other, as in the paper.

    Args:
        first: (N, C, H, W) map where a part of the network begins.
        last: (N, C', H', W') map where it ends.

    Returns:
        (N, C, C') float32.

    Examples:
        >>> import torch
        >>> fsp_matrix(torch.ones(1, 2, 8, 8), 3 * torch.ones(1, 2, 4, 4))
        tensor([[[3., 3.],
                 [3., 3.]]])
    """
    size = [min(sides) for sides in zip(first.shape[2:], last.shape[2:], strict=True)]
    first, last = (
        (x if list(x.shape[2:]) == size else F.adaptive_max_pool2d(x, size)).float().flatten(2)
        for x in (first, last)
    )
    return first @ last.mT / first.shape[2]


@MODELS.register_module()
class FSPLoss(FeatureLoss):
    """Mean squared difference of FSP matrices, summed over pairs of layers.

    Each pair is the begin and the end of a part. Equation 2 of the paper sums over the elements of
    a matrix; with their mean each pair counts the same, however wide it is.

    The layers of student and teacher must have equally many channels, since their matrices are
    compared element by element; the sizes of their maps need not match.

    Args:
        student: Pairs of paths in the student, see :class:`FeatureLoss`.
        teacher: As many pairs of paths in the teacher.
        loss_weight: See :class:`FeatureLoss`.

    Raises:
        ConfigError: If the paths are no pairs; in training if the layers have no maps or not
            equally many channels.
    """

    def __init__(
        self,
        student: Sequence[tuple[str, str]],
        teacher: Sequence[tuple[str, str]],
        loss_weight: float = 1.0,
    ) -> None:
        for pair in (*student, *teacher):
            if isinstance(pair, str) or len(pair) != 2:
                raise ConfigError(
                    'FSPLoss: student and teacher name pairs of layers, such as '
                    f"('backbone.layer1:input', 'backbone.layer1'), got {pair!r}"
                )
        super().__init__(
            [path for pair in student for path in pair],
            [path for pair in teacher for path in pair],
            loss_weight,
        )

    def compare(
        self,
        student_features: list[Tensor],
        teacher_features: list[Tensor],
        labels: Tensor | None,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compare`."""
        pairs = zip(student_features, teacher_features, strict=True)
        for index, (student, teacher) in enumerate(pairs):
            shapes = self.describe(index, student, teacher)
            if student.ndim != 4 or teacher.ndim != 4:
                raise ConfigError(f'{shapes}: FSP matrices are defined on maps (N, C, H, W)')
            if student.shape[1] != teacher.shape[1]:
                raise ConfigError(
                    f'{shapes}: FSP matrices need equally many channels; name other layers, or '
                    'use AttentionLoss or HintLoss'
                )
        losses = [
            hint_loss(fsp_matrix(*student), fsp_matrix(*teacher))
            for student, teacher in zip(
                _in_pairs(student_features), _in_pairs(teacher_features), strict=True
            )
        ]
        return sum(losses[1:], losses[0])


def _in_pairs(features: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(features[::2], features[1::2], strict=True))
