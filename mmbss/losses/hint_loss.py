"""Hints: the student's features predict the teacher's (FitNets, arXiv 1412.6550)."""

from torch import Tensor, nn

from mmbss.engine.errors import ConfigError
from mmbss.losses.feature_loss import FeatureLoss, to_smaller_size
from mmbss.registry import MODELS


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two features.

    Romero et al. write half the squared norm (equation 3); the mean over all elements does not
    depend on the size of the features.

    Args:
        student: (N, ...) features, already of the teacher's shape.
        teacher: (N, ...) features.

    Returns:
        A float32 scalar; 0 for an empty batch.

    Examples:
        >>> import torch
        >>> hint_loss(torch.zeros(1, 4), torch.tensor([[0.0, 0.0, 2.0, 2.0]]))
        tensor(2.)
    """
    difference = student.float() - teacher.detach().float()
    return difference.square().sum() / max(difference.numel(), 1)


@MODELS.register_module()
class HintLoss(FeatureLoss):
    """:func:`hint_loss` between one layer of the student and one of the teacher.

    Features are maps (N, C, H, W), tokens (N, L, C) or vectors (N, C). Maps of different sizes
    are average-pooled to the smaller one. Where the channels are given, a regressor, a linear
    map of the channels at each position, predicts the teacher's from the student's, as in the
    paper; without it both layers must have equally many.

    Args:
        student: Path of the student's layer, see :class:`FeatureLoss`.
        teacher: Path of the teacher's layer.
        student_channels: Channels of the student's layer.
        teacher_channels: Channels of the teacher's layer.
        loss_weight: See :class:`FeatureLoss`.

    Raises:
        ConfigError: If only one number of channels is given, or it is not positive; in training
            if the features have other shapes.
    """

    def __init__(
        self,
        student: str,
        teacher: str,
        student_channels: int | None = None,
        teacher_channels: int | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(student, teacher, loss_weight)
        channels = (student_channels, teacher_channels)
        self.regressor: nn.Linear | None = None
        if student_channels is None or teacher_channels is None:
            if channels != (None, None):
                raise ConfigError(
                    'HintLoss: give both student_channels and teacher_channels for a regressor, '
                    f'or neither, got {channels}'
                )
        elif min(student_channels, teacher_channels) < 1:
            raise ConfigError(f'HintLoss: channels must be positive, got {channels}')
        else:
            self.regressor = nn.Linear(student_channels, teacher_channels)

    def compare(
        self,
        student_features: list[Tensor],
        teacher_features: list[Tensor],
        labels: Tensor | None,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compare`."""
        (student,), (teacher,) = student_features, teacher_features
        shapes = self.describe(0, student, teacher)
        if student.ndim != teacher.ndim or student.ndim not in (2, 3, 4):
            raise ConfigError(f'{shapes}: name two maps, two layers of tokens or two of vectors')
        if student.ndim == 4:
            # channels last, as tokens have them
            student, teacher = (
                feature.movedim(1, -1) for feature in to_smaller_size(student, teacher)
            )
        channels = (student.shape[-1], teacher.shape[-1])
        advice = f'set student_channels={channels[0]} and teacher_channels={channels[1]}'
        if self.regressor is None:
            if channels[0] != channels[1]:
                raise ConfigError(f'{shapes}: {advice} for a regressor between them')
        elif channels != (self.regressor.in_features, self.regressor.out_features):
            raise ConfigError(f'{shapes}: {advice}')
        else:
            student = self.regressor(student)
        if student.shape != teacher.shape:
            raise ConfigError(f'{shapes}: the numbers of tokens differ')
        return hint_loss(student, teacher)
