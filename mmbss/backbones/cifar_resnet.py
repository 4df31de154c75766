"""ResNets of depth 6n+2 for small images (He et al. 2016, arXiv 1512.03385, section 4.2)."""

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError
from mmbss.registry import MODELS


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters.

    Where the block halves the resolution and widens, the shortcut takes every second pixel and
    appends channels of zeros (option A of He et al.).
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.added_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return (out + self.shortcut(x)).relu_()

    def shortcut(self, x: Tensor) -> Tensor:
        """The input, brought to the shape of the block's output."""
        if self.stride > 1:
            if x.is_contiguous(memory_format=torch.channels_last):
                # as the slice, whose gradient would leave the NHWC layout
                x = F.avg_pool2d(x, kernel_size=1, stride=self.stride)
            else:
                x = x[:, :, :: self.stride, :: self.stride]
        if self.added_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.added_channels))
        return x


@MODELS.register_module()
class CIFARResNet(BaseBackbone):
    """A ResNet with three stages of n basic blocks, depth 6n+2.

    ResNet8, 14, 20 and 26 have 75,290, 172,506, 269,722 and 366,938 parameters with a linear
    head for 10 classes.

    Args:
        depth: 6n+2, such as 8, 14, 20, 26.
        in_channels: Channels of the image.
        base_channels: Channels of the first stage; each stage doubles them.
        out_indices: Stages, 0 to 2, whose output is returned.
        init_cfg: Initialisation; He's for convolutions by default.

    Raises:
        ConfigError: If the depth is not 6n+2, or there is no such stage.

    Examples:
        >>> import torch
        >>> features = CIFARResNet(depth=8, out_indices=(0, 1, 2))(torch.zeros(1, 3, 32, 32))
        >>> [tuple(feature.shape[1:]) for feature in features]
        [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    """

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        base_channels: int = 16,
        out_indices: tuple[int, ...] = (2,),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if depth < 8 or (depth - 2) % 6:
            raise ConfigError(f'CIFARResNet: depth must be 6n+2 (8, 14, 20, ...), got {depth}')
        if not out_indices or not {*out_indices} <= {0, 1, 2}:
            raise ConfigError(
                f'CIFARResNet: out_indices={out_indices} must name stages among 0, 1 and 2'
            )
        if init_cfg is None:
            init_cfg = [
                dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
                dict(type='Constant', val=1, layer='BatchNorm2d'),
            ]
        super().__init__(init_cfg)
        self.out_indices = tuple(out_indices)
        self.conv1 = nn.Conv2d(in_channels, base_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        self.stages = []
        channels = base_channels
        for stage in range(3):
            width = base_channels * 2**stage
            blocks = nn.Sequential()
            for block in range((depth - 2) // 6):
                blocks.append(BasicBlock(channels, width, stride=2 if stage and not block else 1))
                channels = width
            name = f'layer{stage + 1}'
            self.add_module(name, blocks)
            self.stages.append(name)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) images to the feature maps of the stages in ``out_indices``."""
        x = F.relu(self.bn1(self.conv1(x)))
        outputs = []
        for index, name in enumerate(self.stages):
            x = getattr(self, name)(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
