import math

import numpy as np
import pytest

from mmbss.distil.choose import Answers, choose, difference_p, is_level

LABELS = np.zeros(100, dtype=np.int64)


def answers(right, agree_with=None):
    """Right on the first images; elsewhere as another network, or wrong in a way of its own."""
    decisions = np.full(100, 2) if agree_with is None else agree_with.copy()
    decisions[:right] = 0
    if agree_with is None:
        return Answers(decisions, LABELS)
    decisions[right:][decisions[right:] == 0] = 2
    return Answers(decisions, LABELS)


TEACHER = answers(95)


def test_figures():
    assert answers(80).accuracy == 80
    assert answers(80).agreement(answers(90)) == 90


@pytest.mark.parametrize(
    ('alone', 'other'), [(0, 0), (1, 0), (4, 1), (9, 4), (16, 6), (3, 3), (7, 1)]
)
def test_level_is_one_standard_error(alone, other):
    first, second = np.zeros(100, int), np.zeros(100, int)
    second[:alone] = 1
    first[alone : alone + other] = 1
    found = is_level(Answers(first, LABELS), Answers(second, LABELS))
    assert found == (abs(alone - other) <= math.sqrt(alone + other))


def test_of_level_ones_the_teachers_is_taken():
    wrong_as_teacher = np.full(100, 2)
    wrong_as_teacher[70:] = 5
    teacher = Answers(np.where(np.arange(100) < 70, 0, 5), LABELS)
    level = dict(labels=answers(71), kd=Answers(np.where(np.arange(100) < 70, 0, 5), LABELS))
    choice = choose(level, teacher)
    assert choice.name == 'kd'
    assert choice.level == ['labels', 'kd']


def test_agreement_does_not_outweigh_accuracy():
    teacher = Answers(np.where(np.arange(100) < 50, 0, 5), LABELS)
    choice = choose(dict(labels=answers(90), kd=teacher), teacher)
    assert (choice.name, choice.level) == ('labels', ['labels'])


def test_of_equals_the_first_is_taken():
    assert choose(dict(b=answers(80), a=answers(80)), TEACHER).name == 'b'


def test_p_is_that_of_a_coin():
    first, second = answers(80), answers(70)  # ten images on which the first alone is right
    assert difference_p(first, second) == pytest.approx(2 * 0.5**10)
    assert difference_p(second, first) == pytest.approx(2 * 0.5**10)
