"""The loss on logits that a term of the boundary takes there."""

from typing import Any

from mmbss.engine.build import build_checked
from mmbss.engine.errors import ConfigError
from mmbss.losses import DistillationLoss
from mmbss.registry import MODELS


def build_inner_loss(config: dict[str, Any]) -> DistillationLoss:
    """Build the loss that a config names under ``loss``.

    Raises:
        ConfigError: If it is no loss on logits, or has a weight of its own.
    """
    loss = build_checked(MODELS, config, 'loss')
    if not isinstance(loss, DistillationLoss):
        raise ConfigError(
            f'loss: {type(loss).__name__} is no loss on logits: derive it from '
            'mmbss.losses.DistillationLoss'
        )
    if loss.loss_weight != 1:
        raise ConfigError(
            f'loss.loss_weight={loss.loss_weight} would be a second weight: set loss_weight of '
            'the term instead'
        )
    return loss
