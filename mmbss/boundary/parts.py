"""Many samples, in parts that fit into the memory of a batch."""

from torch import Tensor

#: Most numbers in the inputs that a network gets at a time, unless the batch itself has more: 1,365
#: images of CIFAR, 27 of ImageNet.
MOST_NUMBERS = 2**22


def part_size(inputs: Tensor) -> int:
    """How many samples like those of a batch, (N, ...) with N > 0, a network gets at a time."""
    return max(len(inputs), MOST_NUMBERS // max(inputs[0].numel(), 1))
