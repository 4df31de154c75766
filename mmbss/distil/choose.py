"""Which student is shipped, by its answers and the teacher's on images that nobody trained on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

#: Name of the setting without a teacher.
LABELS = 'labels'
#: What is done, for people to read.
RULE = (
    'Of the students, the one of the highest accuracy on the validation images is found. Level '
    'with it is whoever differs by no more than one standard error of the difference (of the '
    'images on which one of the two alone is right). Of those that are level, the one that agrees '
    'most often with the teacher is taken; of equals, the more accurate, then the one that stands '
    'first.'
)


@dataclass(frozen=True)
class Answers:
    """What a network decides for (N,) images.

    Attributes:
        decisions: (N,) int64 classes.
        labels: (N,) int64, the right ones.
    """

    decisions: np.ndarray
    labels: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(N,) bool."""
        return self.decisions == self.labels

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * float(self.right.mean())

    def agreement(self, other: 'Answers') -> float:
        """Images on which two networks decide alike, in percent."""
        return 100 * float((self.decisions == other.decisions).mean())


@dataclass(frozen=True)
class Choice:
    """What was chosen, and by what.

    Attributes:
        name: The setting whose student is shipped.
        level: Settings whose accuracy is level with the best one's.
        students: Answers of each setting for the validation images.
        teacher: Those of the teacher.
    """

    name: str
    level: list[str]
    students: dict[str, Answers]
    teacher: Answers


def is_level(first: Answers, second: Answers) -> bool:
    """Whether accuracies differ by no more than one standard error of their difference.

    The difference of the images on which the first alone and the second alone is right, b - c, has
    the standard error sqrt(b + c) where neither is better (McNemar 1947).
    """
    alone, other = _alone(first, second)
    return abs(alone - other) <= math.sqrt(alone + other)


def difference_p(first: Answers, second: Answers) -> float:
    """P value of equal accuracies on the same images: McNemar's exact test, two-sided.

    Examples:
        >>> labels = np.zeros(8, int)
        >>> always, never = Answers(labels, labels), Answers(labels + 1, labels)
        >>> difference_p(always, never), difference_p(always, always)
        (0.0078125, 1.0)
    """
    alone, other = _alone(first, second)
    if alone + other == 0:
        return 1.0
    return float(stats.binomtest(alone, alone + other).pvalue)


def _alone(first: Answers, second: Answers) -> tuple[int, int]:
    """Images on which one of two networks alone is right."""
    return int((first.right & ~second.right).sum()), int((second.right & ~first.right).sum())


def interval(right: int, count: int) -> tuple[float, float]:
    """95 % interval of an accuracy in percent (Wilson 1927), of so many right among all images.

    Examples:
        >>> tuple(round(end, 1) for end in interval(8, 10))
        (49.0, 94.3)
    """
    found = stats.binomtest(right, count).proportion_ci(method='wilson')
    return 100 * float(found.low), 100 * float(found.high)


def choose(students: Mapping[str, Answers], teacher: Answers) -> Choice:
    """Choose the student to ship by :data:`RULE`.

    Args:
        students: At least one, in their order.
        teacher: For the same images.
    """
    best = max(students, key=lambda name: students[name].accuracy)
    level = [name for name, own in students.items() if is_level(own, students[best])]

    def merit(name: str) -> tuple[float, float]:
        return students[name].agreement(teacher), students[name].accuracy

    return Choice(max(level, key=merit), level, dict(students), teacher)
