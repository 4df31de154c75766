import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mmbss.studies.statistics import (
    MOST_SEEDS,
    equivalence_p,
    holm,
    paired_differences,
    paired_test,
    power,
    seeds_needed,
    sign_flip_p,
)

DIFFERENCES = [1.0, 2.0, 3.0, 2.0, 2.0]


def test_only_seeds_that_both_have_are_paired():
    assert paired_differences({0: 1.0, 3: 5.0, 7: 2.0}, {7: 0.5, 0: 2.0, 1: 9.0}) == [-1.0, 1.5]
    assert paired_differences({0: 1.0}, {1: 1.0}) == []


def test_the_t_test_is_that_of_the_textbook():
    test = paired_test(DIFFERENCES, margin=0.5)
    # mean 2, variance 2 / 4, standard error sqrt(0.5 / 5); t of 4 degrees of freedom is 2.776
    assert (test.pairs, test.mean) == (5, 2.0)
    assert test.standard_deviation == pytest.approx(math.sqrt(0.5))
    assert test.high - test.mean == pytest.approx(2.7764 * math.sqrt(0.1), rel=1e-4)
    assert test.low + test.high == pytest.approx(4.0)
    assert test.p_t == pytest.approx(2 * stats.t.sf(2 / math.sqrt(0.1), 4))


def test_sign_flips_are_counted_by_hand():
    # of 32 choices of signs, all plus and all minus reach the sum of 10
    assert sign_flip_p(DIFFERENCES) == 2 / 32
    # 3 - 1 = 2: 3 + 1 and 3 - 1 and their negatives, so all four choices
    assert sign_flip_p([3.0, -1.0]) == 1.0
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([-4.0]) == 1.0


@pytest.mark.parametrize('count', [1, 2, 5, 9])
def test_sign_flips_agree_with_a_plain_count(count):
    values = np.random.default_rng(count).normal(0.5, 1.0, count).round(1)  # with ties
    signs = np.array([*itertools.product([1, -1], repeat=count)])
    reached = np.abs(signs @ values) >= abs(values.sum()) - 1e-9
    assert sign_flip_p([*values]) == reached.mean()


def test_of_many_pairs_signs_are_drawn(monkeypatch):
    values = np.random.default_rng(0).normal(0.5, 1.0, 12)
    exact = sign_flip_p([*values])
    monkeypatch.setattr('mmbss.studies.statistics.CHOICES', 3000)
    assert sign_flip_p([*values]) == sign_flip_p([*values]) != exact
    assert sign_flip_p([*values]) == pytest.approx(exact, abs=0.03)
    # a hundred pairs, which nobody can count
    assert sign_flip_p([1.0] * 100) == pytest.approx(2 / 3001)


def test_equivalence_is_the_worse_of_two_one_sided_tests():
    values = [0.1, -0.2, 0.0, 0.2, -0.1]
    error = np.std(values, ddof=1) / math.sqrt(5)
    assert equivalence_p(values, 0.5) == pytest.approx(stats.t.sf(0.5 / error, 4))
    shifted = [value + 0.3 for value in values]
    assert equivalence_p(shifted, 0.5) == pytest.approx(stats.t.sf(0.2 / error, 4))
    assert equivalence_p([value + 0.5 for value in values], 0.5) == pytest.approx(0.5)
    assert equivalence_p([-value for value in shifted], 0.5) == equivalence_p(shifted, 0.5)


@pytest.mark.parametrize('values', [[1.5], [0.0, 0.0], [0.3, 0.1 + 0.2]])
def test_without_spread_there_is_no_t_test(values):
    test = paired_test(values, margin=0.5)
    assert (test.low, test.high, test.p_t, test.p_equivalence) == (None,) * 4
    assert test.mean == pytest.approx(values[0])


def test_holm_multiplies_the_smallest_most_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([None, 0.02]) == [None, 0.04]
    assert holm([]) == []


def test_power_is_the_share_of_simulated_tests_that_show_the_effect():
    draws = np.random.default_rng(0).normal(1.0, 0.8, (4000, 6))
    shown = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05
    assert power(6, 1.0, 0.8) == pytest.approx(shown.mean(), abs=0.02)
    assert power(6, 0.0, 0.8) == pytest.approx(0.05)
    # far from 0, where the other tail is next to nothing
    assert power(2, 0.5, 0.06245) == pytest.approx(0.6256, abs=1e-3)
    assert power(3, 0.5, 0.06245) == pytest.approx(0.9999, abs=1e-4)


def test_seeds_of_the_next_study():
    needed = seeds_needed(0.5, 1.2)
    assert power(needed, 0.5, 1.2) >= 0.8 > power(needed - 1, 0.5, 1.2)
    assert seeds_needed(0.5, 0.06245) == 3
    assert seeds_needed(0.5, 0.0) == 2
    # equal differences but for rounding, of which power is no number
    assert seeds_needed(0.5, 1e-17) == 2
    assert seeds_needed(0.5, 8.0) == 2012
    assert seeds_needed(0.5, 1e6) == MOST_SEEDS
