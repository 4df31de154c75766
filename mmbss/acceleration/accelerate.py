"""Make networks faster without changing what they say."""

import copy

import torch
import torch._dynamo
from mmcv.cnn import fuse_conv_bn
from mmengine.logging import print_log
from torch import Tensor, nn

from mmbss.acceleration.winograd import use_winograd
from mmbss.engine.errors import ConfigError

#: Floating-point types a frozen network may run in.
PRECISIONS = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)

#: Largest difference of logits that rounding explains, as a share of the largest logit.
TOLERANCE = 0.1
#: Logits below this are all alike to a softmax, so their rounding does not matter.
SMALLEST = 0.01
#: Forms of a backbone that may be compiled: with and without gradient, training or not, and by how
#: a batch size is treated. Dynamo keeps 8 of a function before it gives up compiling.
NUM_COMPILED_FORMS = 32


def accelerate(
    network: nn.Module,
    fuse_bn: bool,
    channels_last: bool,
    precision: str,
    winograd: str | None = None,
) -> nn.Module:
    """Return the network in a faster form; it must be in eval mode and is not changed itself.

    Args:
        network: The network, in eval mode.
        fuse_bn: Fold each BatchNorm into the convolution defined before it. Not every network
            runs its modules in the order of their definition: check with :func:`check_answers`.
        channels_last: Hold the weights in the NHWC layout.
        precision: Type of the weights: ``'float32'``, ``'bfloat16'`` or ``'float16'``.
        winograd: Outputs of a tile of the Winograd convolutions, see
            :func:`~mmbss.ops.use_winograd`; None for direct ones.

    Raises:
        ValueError: If there is no such precision, or no such convolution.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f'teacher.precision must be one of {list(PRECISIONS)}, got {precision!r}')
    network = copy.deepcopy(network)
    if fuse_bn:
        # in double, so that the folded weights are rounded only once
        network = fuse_conv_bn(network.double())
    network.requires_grad_(False)
    if winograd is not None:
        use_winograd(network, winograd)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(PRECISIONS[precision])


def compile_in_place(backbone: nn.Module) -> None:
    """Have a backbone compiled when it is first used; the names of its weights stay."""
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, NUM_COMPILED_FORMS)
    backbone.compile()
    print_log(
        f'{type(backbone).__name__} is compiled at its first steps, which takes minutes',
        logger='current',
    )


@torch.no_grad()
def check_answers(network: nn.Module, inputs: Tensor, logits: Tensor) -> None:
    """Compare the answers of an accelerated network with those of the original.

    Args:
        network: The original network.
        inputs: (N, C, H, W) float32.
        logits: (N, K) of the accelerated network.

    Raises:
        ValueError: If they differ by more than rounding explains.
    """
    expected = network(inputs, mode='tensor').float()
    difference = (logits.float() - expected).abs().max()
    if not difference <= TOLERANCE * expected.abs().max().clamp(min=SMALLEST):
        raise ConfigError(
            f'the accelerated teacher answers differently (by {difference:.3g} in the logits): '
            'set teacher.fuse_bn=False, or teacher.precision to float32'
        )
