"""Many samples, in parts that fit into the memory of a batch."""

import torch
from torch import Tensor

from mmbss.attacks import Attack, AttackResult, Partners
from mmbss.attacks.functional import Bounds, ToLogits

#: Most numbers in the inputs that a network gets at a time, unless the batch itself has more: 1,365
#: images of CIFAR, 27 of ImageNet.
MOST_NUMBERS = 2**22


def part_size(inputs: Tensor) -> int:
    """How many samples like those of a batch, (N, ...) with N > 0, a network gets at a time."""
    return max(len(inputs), MOST_NUMBERS // max(inputs[0].numel(), 1))


def attack_in_parts(
    attack: Attack,
    model: ToLogits,
    inputs: Tensor,
    rows: Tensor,
    base: Tensor,
    target: Tensor,
    bounds: Bounds | None,
    partners: Partners | None,
) -> AttackResult:
    """Attack not many more samples at a time than a batch has.

    Where a sample has as many targets as there are classes, all of them would take the memory of as
    many batches.

    Args:
        attack: Whose samples do not depend on each other.
        model: See :meth:`~mmbss.attacks.Attack.__call__`, as for what follows.
        inputs: (N, ...), the batch.
        rows: (A,) int64, which of the inputs are attacked; one may come several times.
        base: (A,) int64.
        target: (A,) int64.
        bounds: See there.
        partners: Of the samples, which then have one target each, so that A is at most N.
    """
    size = part_size(inputs)
    if len(rows) <= size:
        return attack(model, inputs[rows], base, target, bounds, partners)
    parts = zip(*(each.split(size) for each in (rows, base, target)), strict=True)
    results = [attack(model, inputs[some], b, t, bounds) for some, b, t in parts]
    fields = zip(*(vars(result).values() for result in results), strict=True)
    return AttackResult(*map(torch.cat, fields))
