"""Several teachers as one: the mean of their probabilities."""

import hashlib
import math
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmbss.engine.class_names import Names, are_same
from mmbss.engine.errors import ConfigError
from mmbss.teachers.sources.source import Source


class Ensemble(nn.Module):
    """Answers with the logarithm of the mean of its members' probabilities.

    So the softmax of what it answers is that mean, and an attack goes through all members at once.

    Args:
        members: Teachers, each with a normalisation and size of its own.
    """

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, K) log probabilities of (N, C, H, W) inputs in the student's normalisation.

        Raises:
            ConfigError: If members answer with other numbers of classes.
        """
        answers: list[Tensor] = []
        for member in self.members:
            teacher: Any = member
            answers.append(teacher.logits(teacher.from_student(inputs)).float().log_softmax(dim=1))
        the_one([each.shape[1] for each in answers], 'numbers of classes')
        return torch.stack(answers).logsumexp(dim=0) - math.log(len(answers))


def load(configs: list[Any], build: Callable[[dict[str, Any]], nn.Module]) -> Source:
    """Build several teachers as one.

    Args:
        configs: Arguments of each.
        build: Makes a teacher of them.

    Raises:
        ConfigError: If there is none, or they differ in their classes.
    """
    if not configs or not all(isinstance(each, dict) for each in configs):
        raise ConfigError(
            'teacher.config: a list stands for several teachers, each a dict(config=..., '
            f'checkpoint=...), got {reprlib.repr(configs)}'
        )
    members: list[Any] = [build(each) for each in configs]
    return Source(
        network=Ensemble(members),
        num_classes=the_one([each.num_classes for each in members], 'numbers of classes'),
        classes=common_names([each.classes for each in members]),
        differentiable=all(each.differentiable for each in members),
        digest=hashlib.sha256(repr([each.facts for each in members]).encode()).hexdigest(),
    )


def common_names(classes: Sequence[Names | None]) -> Names | None:
    """The names that teachers have for their classes, of which some may be synonyms.

    Raises:
        ConfigError: If they do not stand for the same classes in the same order.
    """
    said = [names for names in classes if names is not None]
    for names in said[1:]:
        if not are_same(said[0], names):
            raise ConfigError(
                f'teacher.config: its teachers have different classes, {reprlib.repr(said[0])} '
                f'and {reprlib.repr(names)}: take those that were trained on the same classes in '
                'the same order, or say with classes=[...] of a teacher what they are'
            )
    return said[0] if said else None


def the_one(values: list[Any], what: str) -> Any:
    """What all that say something say; None where nobody does.

    Raises:
        ConfigError: If they differ.

    Examples:
        >>> the_one([None, 10, 10], 'numbers of classes')
        10
    """
    said = {value for value in values if value is not None}
    if len(said) > 1:
        raise ConfigError(
            f'teacher.config: its teachers have different {what}, {sorted(map(str, said))}: take '
            'those that were trained on the same classes in the same order'
        )
    return said.pop() if said else None
