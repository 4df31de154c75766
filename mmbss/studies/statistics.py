"""Whether two arms of a study differ: tests on the differences of runs with the same seed."""

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
#: Choices of signs that are counted: all of up to 13 pairs.
CHOICES = 10_000
#: No study has so many seeds.
MOST_SEEDS = 10**6


@dataclass(frozen=True)
class PairedTest:
    """What the differences of paired runs say.

    Attributes:
        pairs: Number of differences, N.
        mean: Their mean.
        standard_deviation: Theirs (n - 1); None of a single one.
        low: Lower end of the 95 % interval of the mean, by the t distribution. It, ``high``,
            ``p_t`` and ``p_equivalence`` are None where there is no spread to tell them from: of
            a single difference, or of equal ones.
        high: Its upper end.
        p_t: Of the two-sided paired t test.
        p_sign_flip: See :func:`sign_flip_p`.
        p_equivalence: See :func:`equivalence_p`.
    """

    pairs: int
    mean: float
    standard_deviation: float | None
    low: float | None
    high: float | None
    p_t: float | None
    p_sign_flip: float
    p_equivalence: float | None


def paired_differences(first: Mapping[Any, float], second: Mapping[Any, float]) -> list[float]:
    """First minus second, by the seeds that both have, in the order of the first.

    Examples:
        >>> paired_differences({0: 3.0, 1: 5.0, 2: 9.0}, {1: 4.5, 0: 2.0})
        [1.0, 0.5]
    """
    return [value - second[seed] for seed, value in first.items() if seed in second]


def paired_test(differences: Sequence[float], margin: float) -> PairedTest:
    """Test paired differences against 0, and against a margin of equivalence.

    Args:
        differences: (N,) differences, at least one.
        margin: What counts as no difference, in their unit.
    """
    several, low, high, p_t = len(differences) > 1, None, None, None
    if has_spread(differences):
        tested = stats.ttest_1samp(differences, 0.0)
        low, high = map(float, tested.confidence_interval(CONFIDENCE))
        p_t = float(tested.pvalue)
    return PairedTest(
        pairs=len(differences),
        mean=float(np.mean(differences)),
        standard_deviation=float(np.std(differences, ddof=1)) if several else None,
        low=low,
        high=high,
        p_t=p_t,
        p_sign_flip=sign_flip_p(differences),
        p_equivalence=equivalence_p(differences, margin),
    )


def has_spread(differences: Sequence[float]) -> bool:
    """Whether differences differ by more than rounding, so that a t test means something."""
    size = max(map(abs, differences))
    return max(differences) - min(differences) > 1e-9 * max(size, 1.0)


def sign_flip_p(differences: Sequence[float]) -> float:
    """P value of the two-sided sign-flip test.

    If neither arm is better, each difference could as well have the other sign. Of all 2^N choices
    of signs, this is the share whose mean is as far from 0 as the one seen. It assumes no normal
    distribution; with N pairs it is never below 2^(1 - N). Of more than ``CHOICES`` so many are
    drawn, always the same.

    Args:
        differences: (N,) differences, at least one.
    """
    if len(differences) == 1:
        return 1.0
    tested = stats.permutation_test(
        (differences,),
        # means that differ in their last bits are equal
        lambda values, axis: np.mean(values, axis=axis).round(9),
        permutation_type='samples',
        n_resamples=CHOICES,
        rng=0,
    )
    return float(tested.pvalue)


def equivalence_p(differences: Sequence[float], margin: float) -> float | None:
    """P value of the hypothesis that the arms differ by the margin or more, by two t tests.

    Below 0.05 they are equivalent within the margin (TOST, Schuirmann 1987).

    Args:
        differences: (N,) differences.
        margin: Above 0, in their unit.
    """
    if not has_spread(differences):
        return None
    above = stats.ttest_1samp(differences, -margin, alternative='greater')
    below = stats.ttest_1samp(differences, margin, alternative='less')
    return float(max(above.pvalue, below.pvalue))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P values that may be read side by side (Holm 1979).

    None stays: a comparison that is planned and has no p value yet. The others are adjusted for it
    all the same, so that a study that is half done claims no more than a whole one.

    Examples:
        >>> holm([0.02, None, 0.01, 0.04])
        [0.06, None, 0.04, 0.08]
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min((len(p_values) - rank) * p, 1.0))
        adjusted[place] = highest
    return adjusted


def power(pairs: int, effect: float, standard_deviation: float) -> float:
    """Chance that the two-sided paired t test at 5 % shows an effect of that size.

    Args:
        pairs: Two or more.
        effect: True mean of the differences.
        standard_deviation: Theirs, above 0.
    """
    critical = stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1)
    shift = effect / standard_deviation * math.sqrt(pairs)
    # where next to nothing of the other tail is left, SciPy gives NaN
    other_tail = np.nan_to_num(stats.nct.cdf(-critical, pairs - 1, shift))
    return float(stats.nct.sf(critical, pairs - 1, shift) + other_tail)


def seeds_needed(effect: float, standard_deviation: float, chance: float = 0.8) -> int:
    """Pairs with which :func:`power` reaches a chance, ``MOST_SEEDS`` at most.

    Examples:
        >>> seeds_needed(1.0, 0.8), seeds_needed(0.5, 0.8)
        (8, 23)
    """
    if standard_deviation < 1e-6 * effect:  # next to nothing, of which there is no power
        return 2
    pairs = range(2, MOST_SEEDS)
    return 2 + bisect.bisect_left(pairs, chance, key=lambda n: power(n, effect, standard_deviation))
