"""Cross-entropy of softened predictions, for training at a temperature."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmbss.engine.ranges import check_positive
from mmbss.registry import MODELS


@MODELS.register_module()
class TemperatureCrossEntropy(nn.Module):
    """Loss of a head: the cross-entropy of ``softmax(logits / T)`` with the labels.

    The network is tested at T = 1, where its logits, which have grown in proportion to T, saturate
    the softmax: the first half of defensive distillation (Papernot et al. 2016, arXiv 1511.04508).
    As there, the loss is not scaled by T or its square.

    Args:
        temperature: T > 0.
        loss_weight: Factor of the loss.

    Raises:
        ConfigError: If the temperature is not positive.
    """

    def __init__(self, temperature: float, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_positive(self, temperature=temperature)
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(
        self, cls_score: Tensor, label: Tensor, avg_factor: float | None = None, **kwargs: Any
    ) -> Tensor:
        """The loss, a float32 scalar.

        Args:
            cls_score: (N, K) logits, any floating dtype.
            label: (N,) int64 classes or (N, K) shares of the classes.
            avg_factor: What the sum over the batch is divided by, by default N.
            **kwargs: Nothing that this loss looks at; mmpretrain's heads may pass more.
        """
        softened = cls_score.float() / self.temperature
        total = F.cross_entropy(softened, label, reduction='sum')
        return self.loss_weight * total / (avg_factor or max(len(cls_score), 1))
