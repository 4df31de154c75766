"""The one door: a network in a faster form that says the same."""

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mmbss.acceleration.winograd import use_winograd
from mmbss.engine.errors import ConfigError

#: Floating-point types a frozen network may run in.
PRECISIONS = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)

#: Largest difference of centred logits that rounding explains, as a share of the largest one: to
#: 32 bits, which in networks of 100 layers comes to 0.0003; and to 16 bits or TF32.
FINE, COARSE = 0.01, 0.1
#: Logits below this are all alike to a softmax, so their rounding does not matter.
SMALLEST = 0.01


def accelerate(
    network: nn.Module,
    channels_last: bool = False,
    winograd: str | None = None,
    fuse_bn: bool = False,
    precision: str = 'float32',
) -> nn.Module:
    """Give a classifier a faster form, whose answers are the same up to rounding.

    The names of its modules stay, and those of its weights but where ``fuse_bn`` folds them.
    Weights of a frozen network must not be loaded afterwards.

    Args:
        network: Maps (N, C, H, W) images to (N, K) logits. One that is frozen, in eval mode and
            without a parameter that asks for a gradient, is copied, and the first batch that the
            copy answers is compared with the original. One that trains is changed in place.
        channels_last: Run in the NHWC layout, which many convolutional networks are faster in.
        winograd: On a CPU, compute 3x3 convolutions in tiles of ``'2x2'``, ``'4x2'`` or ``'4x4'``
            outputs, see :func:`~mmbss.acceleration.winograd.use_winograd`; None for direct ones.
        fuse_bn: Of a frozen network, fold each BatchNorm into the convolution defined before it.
        precision: Of a frozen network, the type of the weights: ``'float32'``, ``'bfloat16'`` or
            ``'float16'``.

    Returns:
        The network in its faster form.

    Raises:
        ConfigError: If there is no such precision or convolution, or what is for a frozen network
            is asked of one that trains; at the first batch if the answers differ by more than
            rounding explains.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f'precision must be one of {list(PRECISIONS)}, got {precision!r}')
    is_frozen = not any(parameter.requires_grad for parameter in network.parameters())
    if not is_frozen and (fuse_bn or precision != 'float32'):
        raise ConfigError(
            'fuse_bn and precision are for a frozen network, such as the teacher; of one that '
            'trains leave them out'
        )
    if not is_frozen:
        if winograd is not None:
            use_winograd(network, winograd)
        if channels_last:
            network.get_submodule('backbone').register_forward_pre_hook(_to_channels_last)
        return network
    if not (channels_last or winograd is not None or fuse_bn or precision != 'float32'):
        return network
    original, network = network, copy.deepcopy(network)
    if fuse_bn:
        from mmcv.cnn import fuse_conv_bn

        try:  # in double, so that the folded weights are rounded only once
            network = fuse_conv_bn(network.double()).requires_grad_(False)
        except (KeyError, RuntimeError, TypeError) as error:
            # of a BatchNorm that stands before its convolution, or has no weights, for instance
            raise ConfigError(
                f'mmcv cannot fold the BatchNorm of this network ({error}): set fuse_bn=False'
            ) from error
    if winograd is not None:
        use_winograd(network, winograd, frozen=True)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = network.to(PRECISIONS[precision])
    # an attribute of the object, which hides the method of its class
    network.forward = _Forward(network, original, channels_last)
    return network


def is_altered(module: nn.Module, at_input: bool) -> bool:
    """Whether ``fuse_bn`` may have changed what a module puts out, or gets."""
    folded = nn.Identity if at_input else nn.modules.conv._ConvNd
    return isinstance(module, folded)


class _Forward:
    """The ``forward`` of an accelerated network, for images of any type and layout.

    The first answer is compared with that of the original, which is then let go. A class, since a
    function would go on calling the first network from a copy of it.
    """

    def __init__(self, network: nn.Module, original: nn.Module, channels_last: bool) -> None:
        self.network = network
        self.forward = network.forward
        self.original: nn.Module | None = original
        self.channels_last = channels_last

    def __call__(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Any:
        parameter = next(self.network.parameters(), None)
        dtype = inputs.dtype if parameter is None else parameter.dtype
        images = inputs.to(dtype)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        # autocast would mix its own 16 bits with those of the weights
        own_precision: AbstractContextManager = nullcontext()
        if dtype != torch.float32:
            own_precision = torch.autocast(inputs.device.type, enabled=False)
        with own_precision:
            answer = self.forward(images, *args, **kwargs)
        logits = _logits_in(answer)
        if self.original is not None and logits is not None:
            original = self.original.to(inputs.device)
            inputs = inputs.to(next(original.parameters(), inputs).dtype)
            with torch.no_grad():
                expected = _logits_in(original(inputs, *args, **kwargs))
            _check_answers(expected, logits, FINE if _is_fine(dtype, inputs.device) else COARSE)
            self.original = None
        return answer


def _logits_in(answer: Any) -> Tensor | None:
    """The logits, also those in what a classifier of transformers returns; None of others."""
    logits = getattr(answer, 'logits', answer)
    return logits if isinstance(logits, Tensor) else None


def _is_fine(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether all is computed in 32 bits; a GPU may round to TF32, and autocast does to 16."""
    is_mixed = torch.is_autocast_enabled(device.type)
    return dtype == torch.float32 and device.type == 'cpu' and not is_mixed


def _check_answers(expected: Any, logits: Any, tolerance: float) -> None:
    # a softmax does not see what all logits of a sample have in common
    expected, logits = (
        each.float() - each.float().mean(dim=-1, keepdim=True) for each in (expected, logits)
    )
    difference = (logits - expected).abs().max()
    if not difference <= tolerance * expected.abs().max().clamp(min=SMALLEST):
        raise ConfigError(
            f'the accelerated network answers differently (by {difference:.3g} in the logits): '
            'set fuse_bn=False, or precision to float32'
        )


def _to_channels_last(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    images, *others = args
    return (images.contiguous(memory_format=torch.channels_last), *others)
