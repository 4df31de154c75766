"""Base samples with their boundary samples, to be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmbss.attacks import Attack
from mmbss.attacks.functional import Bounds, ToLogits, without_classes
from mmbss.boundary import find_boundary_samples
from mmbss.boundary.sampling import correct
from mmbss.engine.errors import ConfigError


class NoBoundaryPairsError(ConfigError):
    """There is no base sample, or none that can be moved onto the boundary."""


@dataclass(frozen=True)
class BoundaryPairs:
    """Base samples and what an attack has made of them.

    Attributes:
        base_samples: (N, C, H, W) float32 in the units of the attacked network's input.
        boundary_samples: The same shape.
        base: (N,) int64 base classes, the right ones.
        target: (N,) int64 classes on the other side of the boundary.
    """

    base_samples: Tensor
    boundary_samples: Tensor
    base: Tensor
    target: Tensor

    def __getitem__(self, index: slice) -> 'BoundaryPairs':
        return BoundaryPairs(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.base)


def most_probable_others(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """The ``count`` most probable wrong classes, best first: (N, K) and (N,) to (N, count) int64.

    Examples:
        >>> import torch
        >>> most_probable_others(torch.tensor([[5.0, 1.0, 3.0, 2.0]]), torch.tensor([0]), 2)
        tensor([[2, 3]])
    """
    return without_classes(logits, labels).topk(count, dim=1).indices


def spread_over_classes(labels: Tensor) -> Tensor:
    """An order in which the first samples of every class come before the second ones.

    Args:
        labels: (N,) int64.

    Returns:
        (N,) int64 row numbers.

    Examples:
        >>> import torch
        >>> spread_over_classes(torch.tensor([7, 7, 7, 2, 2]))
        tensor([0, 3, 1, 4, 2])
    """
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    how_many_before = same.tril(diagonal=-1).sum(dim=1)
    return how_many_before.argsort(stable=True)


def find_boundary_pairs(
    teacher: ToLogits,
    samples: Tensor,
    labels: Tensor,
    attack: Attack,
    bounds: Bounds | None = None,
    students: Sequence[ToLogits] = (),
) -> BoundaryPairs:
    """Move samples that all networks classify correctly onto the teacher's boundary.

    They move toward the most probable wrong class; with an attack that needs partners, toward
    others of the samples.

    Args:
        teacher: The attacked network, (N, C, H, W) to (N, K).
        samples: (N, C, H, W) in the units of the teacher's input.
        labels: (N,) int64.
        attack: The attack.
        bounds: Lowest and highest value of an input.
        students: Further networks that have to be right, of the same inputs.

    Returns:
        The pairs that the attack accepts, the classes taking turns.

    Raises:
        NoBoundaryPairsError: If there is no sample that all classify correctly, or the attack
            accepts none.
    """
    with torch.no_grad():
        logits = teacher(samples)
        right = correct(labels, logits, *(student(samples) for student in students))
    rows = right.nonzero().squeeze(1)
    if not len(rows):
        raise NoBoundaryPairsError(
            f'none of {len(labels)} samples is classified correctly by '
            f'{"the teacher and all students" if students else "the teacher"}: take more samples, '
            'or networks that are trained'
        )
    rows = rows[spread_over_classes(labels[rows])]
    found = find_boundary_samples(
        teacher,
        samples[rows],
        labels[rows],
        attack,
        teacher_logits=logits[rows],
        base_samples='all',
        target_class=None if attack.needs_partners else 'second_most_probable',
        bounds=bounds,
    )
    if not len(found.rows):
        raise NoBoundaryPairsError(
            f'{type(attack).__name__} accepts none of {len(rows)} samples: give it more steps, or '
            'take more samples'
        )
    kept = rows[found.rows]
    target = most_probable_others(found.teacher_logits, found.labels, 1)[:, 0]
    return BoundaryPairs(samples[kept], found.inputs, found.labels, target)
