"""Attention transfer: where the networks look (Zagoruyko, Komodakis 2017, arXiv 1612.03928)."""

from collections.abc import Sequence
from math import isqrt

import torch.nn.functional as F
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.losses.feature_loss import FeatureLoss, to_smaller_size
from mmbss.registry import MODELS


def attention_map(features: Tensor) -> Tensor:
    """Mean of the squares over the channels: (N, C, H, W) to (N, H, W)."""
    return features.float().square().mean(dim=1)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of attention maps that are scaled to norm 1.

    Maps of different sizes are average-pooled to the smaller one. Equation 2 of the paper with
    squared norms, which it divides by the number of samples and elements as well.

    Args:
        student: (N, H, W) attention maps.
        teacher: (N, H', W') attention maps.

    Returns:
        A float32 scalar; 0 for an empty batch.

    Examples:
        >>> import torch
        >>> here, there = torch.eye(4)[:2].reshape(2, 1, 2, 2)
        >>> attention_loss(here, there), attention_loss(here, 5 * here)
        (tensor(0.5000), tensor(0.))
    """
    student, teacher = to_smaller_size(student.float(), teacher.detach().float())
    difference = F.normalize(student.flatten(1)) - F.normalize(teacher.flatten(1))
    return difference.square().sum() / max(difference.numel(), 1)


@MODELS.register_module()
class AttentionLoss(FeatureLoss):
    """Sum of :func:`attention_loss` over pairs of layers; channels need not match.

    Layers are maps (N, C, H, W), or the tokens (N, L, C) of a square grid, after
    ``num_extra_tokens`` others.

    Args:
        student: Paths of the student's layers, see :class:`FeatureLoss`.
        teacher: Paths of the teacher's layers.
        loss_weight: See :class:`FeatureLoss`; the paper uses 1000.
        num_extra_tokens: Tokens before those of the grid, such as a class token; or the numbers of
            student and teacher.

    Raises:
        ConfigError: If it is below 0; in training, if a layer has neither maps nor such tokens.
    """

    def __init__(
        self,
        student: Sequence[str],
        teacher: Sequence[str],
        loss_weight: float = 1000.0,
        num_extra_tokens: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__(student, teacher, loss_weight)
        both = (num_extra_tokens,) * 2 if isinstance(num_extra_tokens, int) else num_extra_tokens
        if len(both) != 2 or min(both) < 0:
            raise ConfigError(
                f'AttentionLoss: num_extra_tokens={num_extra_tokens} must be 0 or more, or two '
                'such numbers, of student and teacher'
            )
        self.num_extra_tokens = both

    def compare(
        self,
        student_features: list[Tensor],
        teacher_features: list[Tensor],
        labels: Tensor | None,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compare`."""
        losses = []
        pairs = zip(student_features, teacher_features, strict=True)
        for index, (student, teacher) in enumerate(pairs):
            shapes = self.describe(index, student, teacher)
            maps = [
                self.as_map(feature, extra, shapes)
                for feature, extra in zip((student, teacher), self.num_extra_tokens, strict=True)
            ]
            losses.append(attention_loss(*map(attention_map, maps)))
        return sum(losses[1:], losses[0])

    def as_map(self, features: Tensor, num_extra_tokens: int, shapes: str) -> Tensor:
        """Lay tokens out as a map (N, C, H, W); maps come back as they are."""
        if features.ndim == 4:
            return features
        if features.ndim != 3:
            raise ConfigError(f'{shapes}: attention is defined on maps and tokens')
        tokens = features[:, num_extra_tokens:]
        side = isqrt(tokens.shape[1])
        if side == 0 or side**2 != tokens.shape[1]:
            raise ConfigError(
                f'{shapes}: {tokens.shape[1]} tokens are no square; set num_extra_tokens to the '
                'number of tokens before those of the image, such as a class token, or to those of '
                'student and teacher'
            )
        return tokens.mT.unflatten(2, (side, side))
