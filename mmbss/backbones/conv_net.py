"""Small convolutional network without normalisation layers."""

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError
from mmbss.registry import MODELS


@MODELS.register_module()
class ConvNet(BaseBackbone):
    """Pairs of 3 x 3 convolutions with ReLU, each followed by 2 x 2 max pooling, then an MLP.

    The defaults are the network of Papernot et al. 2016 (arXiv 1511.04508) for MNIST. The
    convolutions are not padded; the head adds the last fully connected layer.

    Args:
        image_size: Height and width of the images.
        in_channels: Channels of the images.
        channels: Channels of each pair of convolutions.
        hidden: Width of each fully connected layer; the last one is what the head gets.
        dropout: Probability of dropping a unit of a fully connected layer.
        init_cfg: Initialisation, torch's own by default.

    Raises:
        ConfigError: If the images are too small.

    Examples:
        >>> import torch
        >>> (features,) = ConvNet()(torch.zeros(2, 1, 28, 28))
        >>> features.shape
        torch.Size([2, 200])
    """

    def __init__(
        self,
        image_size: int = 28,
        in_channels: int = 1,
        channels: tuple[int, ...] = (32, 64),
        hidden: tuple[int, ...] = (200, 200),
        dropout: float = 0.5,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.layers = nn.Sequential()
        size = image_size
        for width in channels:
            for _ in range(2):
                self.layers.extend([nn.Conv2d(in_channels, width, 3), nn.ReLU()])
                in_channels = width
            self.layers.append(nn.MaxPool2d(2))
            size = (size - 4) // 2
        if size < 1:
            raise ConfigError(f'ConvNet: images of {image_size} pixels are too small')
        self.layers.append(nn.Flatten())
        in_features = in_channels * size * size
        for width in hidden:
            self.layers.extend([nn.Linear(in_features, width), nn.ReLU(), nn.Dropout(dropout)])
            in_features = width

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(N, C, H, W) images to the (N, hidden[-1]) output of the last hidden layer."""
        return (self.layers(x),)
