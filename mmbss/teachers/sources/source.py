"""What the teacher knows of a network, wherever that comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


def call(network: Any, images: Tensor) -> Tensor:
    """The logits of a network that returns them when it is called with images alone."""
    return network(images)


def are_probabilities(rows: Tensor) -> bool:
    """Whether (N, K) answers seem to have passed a softmax already.

    Examples:
        >>> import torch
        >>> are_probabilities(torch.tensor([[0.2, 0.8]])), are_probabilities(torch.eye(2) - 0.1)
        (True, False)
    """
    sums = rows.float().sum(1)
    # bfloat16 and files of 8 bits round them
    return len(rows) > 0 and bool((rows >= 0).all() and ((sums - 1).abs() < 0.02).all())


@dataclass(frozen=True)
class Source:
    """A network, how it is asked for logits, and what its library says of its inputs and classes.

    Attributes:
        network: The library's own module in eval mode, whose features can be read by their paths;
            or a function or another callable, which has none.
        ask: Puts (N, C, H, W) images, normalised as ``mean`` and ``std`` say, to a network, and
            returns (N, K) logits. The network is an argument, since it may be a faster copy of
            ``network``.
        num_classes: K, None where nothing says it.
        mean: Of the colour channels in pixels of [0, 255], in the order that the network wants.
            None: its images are normalised like the student's.
        std: The same of their deviation.
        channels: In which order it wants them, ``'rgb'`` or ``'bgr'``; None where nothing says it,
            or they are no colours.
        to_rgb: Of a network of mmpretrain, whether its data preprocessor turns the order of what
            it gets; None of others.
        input_size: Height and width of its images; None: any.
        interpolation: How images are resized to it, ``'bilinear'`` or ``'bicubic'``.
        takes_bytes: Whether it takes nothing but whole pixels of [0, 255].
        classes: Names of the classes in their order, None where nothing says them.
        differentiable: Whether logits have a gradient.
        digest: Stands for the weights of what is no module, such as that of a file. A module's are
            read from its weights.
    """

    network: nn.Module | Callable[[Tensor], Tensor]
    ask: Callable[[Any, Tensor], Tensor] = call
    num_classes: int | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    channels: str | None = None
    to_rgb: bool | None = None
    input_size: tuple[int, int] | None = None
    interpolation: str = 'bilinear'
    takes_bytes: bool = False
    classes: tuple[str, ...] | None = None
    differentiable: bool = True
    digest: str = ''

    @property
    def normalisation(self) -> tuple[Tensor, Tensor] | None:
        """``mean`` and ``std``, (C, 1, 1) float32 each; None where nothing says them."""
        if self.mean is None or self.std is None:
            return None
        mean, std = (torch.tensor(each).float().view(-1, 1, 1) for each in (self.mean, self.std))
        return mean, std
