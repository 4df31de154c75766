"""Multi-layer perceptron on flattened images."""

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from mmbss.registry import MODELS


@MODELS.register_module()
class MLP(BaseBackbone):
    """Fully connected ReLU layers, as in Hinton et al. 2015 (784-1200-1200-10).

    Args:
        in_features: Values of an image, C * H * W.
        hidden: Width of each hidden layer; the last one is what the head gets.
        dropout: Probability of dropping a hidden unit.
        init_cfg: Initialisation, torch's own by default.

    Examples:
        >>> import torch
        >>> (features,) = MLP(in_features=64, hidden=(32, 16))(torch.zeros(2, 1, 8, 8))
        >>> features.shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        in_features: int,
        hidden: tuple[int, ...] = (800, 800),
        dropout: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.layers = nn.Sequential()
        for width in hidden:
            self.layers.append(nn.Linear(in_features, width))
            self.layers.append(nn.ReLU())
            if dropout > 0:
                self.layers.append(nn.Dropout(dropout))
            in_features = width

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(N, C, H, W) images to the (N, hidden[-1]) output of the last hidden layer."""
        return (self.layers(x.flatten(1)),)
