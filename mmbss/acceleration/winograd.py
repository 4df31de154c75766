"""3x3 convolutions with fewer multiplications, for CPUs (Lavin & Gray 2016, arXiv 1509.09308).

A tile of 2x2, 4x2 or 4x4 outputs takes 16, 24 or 36 multiplications a pair of channels, where the
direct convolution takes 36, 72 or 144.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmbss.acceleration.build import load_operator
from mmbss.engine.errors import ConfigError

#: Tiles by their name: outputs down and across.
TILES = {'2x2': (2, 2), '4x2': (4, 2), '4x4': (4, 4)}
#: Kernels (3) to frequencies (4 or 6), by the outputs along the side of a tile. The points are 0,
#: 1, -1, infinity and 0, 3/4, -3/4, 3/2, -3/2, infinity; the other transforms are in transforms.h.
KERNEL_TRANSFORMS = {
    2: [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    4: [
        [64 / 81, 0, 0],
        [-128 / 243, -32 / 81, -8 / 27],
        [-128 / 243, 32 / 81, -8 / 27],
        [32 / 243, 16 / 81, 8 / 27],
        [32 / 243, -16 / 81, 8 / 27],
        [0, 0, 1],
    ],
}
#: Channels are handled in vectors of that many.
LANES = 16
PRECISIONS = (torch.float32, torch.bfloat16)


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 1 and padding 1, by F(2x2, 3x3), F(4x2, 3x3) or F(4x4, 3x3).

    The products are summed in float32, also of bfloat16 inputs. On a GPU, or in another precision,
    it is torch's own convolution.
    """

    #: Outputs of a tile, a key of TILES.
    tile: str
    #: The transformed kernels of the convolution and of its gradient, if they never change.
    frozen_kernels: tuple[Tensor, Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K, H, W)."""
        device = input.device.type
        if torch.is_autocast_enabled(device):
            input = input.to(torch.get_autocast_dtype(device))
        if device != 'cpu' or input.dtype not in PRECISIONS:
            return super().forward(input)
        forward, backward = self.frozen_kernels or (None, None)
        return _Winograd.apply(input, self.weight, self.bias, self.tile, forward, backward)


def use_winograd(network: nn.Module, tile: str, frozen: bool = False) -> int:
    """Turn the convolutions that allow it into :class:`WinogradConv2d`; returns their number.

    Parameters stay what they are, so checkpoints and optimizers do not notice.

    Args:
        network: The network, changed in place.
        tile: Outputs of a tile, ``'2x2'``, ``'4x2'`` or ``'4x4'``: the first rounds the least,
            the last is the fastest.
        frozen: Whether the weights will never change: they are transformed once, now.

    Raises:
        ConfigError: If there is no such algorithm, no suitable convolution, or no compiler.
    """
    if tile not in list(TILES):
        raise ConfigError(f'winograd must be one of {list(TILES)}, got {tile!r}')
    suitable = [module for module in network.modules() if _is_suitable(module)]
    if not suitable:
        raise ConfigError(
            f'winograd={tile!r}: no convolution of the network has a 3x3 kernel, stride 1, '
            f'padding 1 and channels in multiples of {LANES}: leave winograd out'
        )
    _load()
    for module in suitable:
        module.__class__ = WinogradConv2d
        assert isinstance(module, WinogradConv2d)
        module.tile = tile
        if frozen:
            module.frozen_kernels = (
                transform_kernels(module.weight, tile),
                transform_kernels(_of_gradient(module.weight), tile),
            )
    return len(suitable)


def transform_kernels(weight: Tensor, tile: str) -> Tensor:
    """Kernels (K, C, 3, 3) as frequencies (F, C, K), float32, in the order of a tile's rows."""
    down, across = _transforms(tile)
    # in double, so that they are rounded only once
    frequencies = torch.einsum('ai,kcij,bj->abck', down, weight.detach().double(), across)
    return frequencies.flatten(0, 1).float().contiguous()


def _transforms(tile: str) -> list[Tensor]:
    return [torch.tensor(KERNEL_TRANSFORMS[side], dtype=torch.float64) for side in TILES[tile]]


def _is_suitable(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and (module.kernel_size, module.stride, module.dilation) == ((3, 3), (1, 1), (1, 1))
        and module.padding == (1, 1)
        and module.padding_mode == 'zeros'
        and module.groups == 1
        and module.in_channels % LANES == module.out_channels % LANES == 0
    )


def _of_gradient(weight: Tensor) -> Tensor:
    """Kernels that take the gradient of the outputs to that of the inputs."""
    return weight.flip(2, 3).transpose(0, 1)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tile: str,
        forward_kernels: Tensor | None,
        backward_kernels: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(input if weight.requires_grad else None, weight, backward_kernels)
        ctx.tile = tile
        if forward_kernels is None:
            forward_kernels = transform_kernels(weight, tile)
        return torch.ops.mmbss.winograd_conv(input, forward_kernels, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, kernels = ctx.saved_tensors
        of_input = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            if kernels is None:
                kernels = transform_kernels(_of_gradient(weight), ctx.tile)
            of_input = torch.ops.mmbss.winograd_conv(gradient, kernels, None)
        if ctx.needs_input_grad[1]:
            down, across = _transforms(ctx.tile)
            count = len(down) * len(across)
            sums = torch.ops.mmbss.winograd_weight_gradient(input, gradient, count)
            frequencies = sums.double().unflatten(0, (len(down), len(across)))
            of_weight = torch.einsum('ai,abck,bj->kcij', down, frequencies, across)
            of_weight = of_weight.to(weight.dtype)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=(0, 2, 3), dtype=weight.dtype)
        return of_input, of_weight, of_bias, None, None, None


@cache
def _load() -> None:
    load_operator(Path(__file__).with_suffix('.cpp'))
