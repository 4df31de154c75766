"""Count what a teacher is asked, and ask in parts."""

import torch
from torch import Tensor

from mmbss.attacks.functional import ToLogits
from mmbss.engine.errors import ConfigError

#: Most numbers in the inputs that a network gets at a time, unless the batch itself has more: 1,365
#: images of CIFAR, 27 of ImageNet.
MOST_NUMBERS = 2**22


def part_size(inputs: Tensor) -> int:
    """How many samples like those of a batch, (N, ...) with N > 0, a network gets at a time."""
    return max(len(inputs), MOST_NUMBERS // max(inputs[0].numel(), 1))


class Queries:
    """A network that counts the inputs it is asked about.

    Args:
        network: Maps (N, ...) inputs to (N, K) logits.

    Examples:
        >>> network = Queries(torch.square)
        >>> _ = network(torch.zeros(3, 2)), network(torch.zeros(1, 2))
        >>> network.asked
        4
    """

    def __init__(self, network: ToLogits) -> None:
        self.network = network
        self.asked = 0

    def __call__(self, inputs: Tensor) -> Tensor:
        """(N, K) logits of (N, ...) inputs.

        Raises:
            ConfigError: If the network changes them in place, which would move the samples.
        """
        self.asked += len(inputs)
        version = None if inputs.is_inference() else inputs._version
        logits = self.network(inputs)
        if version is not None and inputs._version != version:
            raise ConfigError(
                'the teacher changes its inputs in place, and with them the samples: give it '
                'operations that leave them alone (inplace=False)'
            )
        return logits

    def statistic(self, like: Tensor) -> Tensor:
        """How many inputs, as a scalar float32 on the device of another tensor."""
        return torch.full((), float(self.asked), device=like.device)
