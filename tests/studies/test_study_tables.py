from pathlib import Path

import pytest

from mmbss.studies.results import Result, compare_arms
from mmbss.studies.statistics import paired_test
from mmbss.studies.study import Study
from mmbss.studies.study_tables import contrast_in_words, metrics_markdown


def said_of(differences, looks=(4,), seeds=range(8), **more):
    """What is said of a contrast with these differences of the seeds from 0 on."""
    study = Study('x', Path(), Path(), {}, [*seeds], looks=[*looks], contrast=('b', 'a'))
    values = {**dict(enumerate(differences)), **more}

    def results(arm, factor):
        return [
            Result(arm, int(seed), 'm', factor * value, 1, 1, 1, 1, '')
            for seed, value in values.items()
        ]

    return contrast_in_words(study, dict(a=results('a', 0.0), b=results('b', 1.0)))


@pytest.mark.parametrize(
    ('differences', 'verdict'),
    [
        ([0.9, 1.0, 1.2, 1.1], 'above 0'),
        ([-0.9, -1.0, -1.2, -1.1], 'below 0'),
        ([0.1, 0.12, 0.11, 0.1], 'above 0, but by less than the margin'),
        ([-0.1, 0.1, 0.05, -0.05], 'none, within'),
        ([-1.0, 3.0, 2.0, -2.0], 'not decided'),
        ([1.0, 1.0, 1.0, 1.0], 'no spread'),
    ],
)
def test_a_contrast_is_above_below_none_or_not_decided(differences, verdict):
    assert verdict in said_of(differences)


def test_each_of_several_looks_has_a_part_of_the_level():
    shown, equivalent = [0.3, 1.0, 1.6, 0.8], [-0.4, 0.3, 0.3, 0.1]
    assert 0.05 / 2 < paired_test(shown, 0.5).p_t < 0.05
    assert 0.05 / 2 < paired_test(equivalent, 0.5).p_equivalence < 0.05
    assert 'above 0' in said_of(shown)
    assert 'none, within' in said_of(equivalent)
    for each in (shown, equivalent):
        assert 'not decided' in said_of(each, looks=[4, 8])


def test_between_its_looks_a_study_says_what_the_last_one_has_said():
    assert 'not decided' in said_of([0.9, 3.0, 5.0], looks=[2, 4])
    text = said_of([0.9], looks=[2, 4])
    assert 'after 2, 4 seeds, which are not all there' in text
    assert 'above' not in text


def test_a_look_is_at_its_own_seeds_and_no_others():
    assert 'not all there' in said_of(
        [], looks=[4, 8], **{str(seed): 1.0 + seed for seed in range(4, 8)}
    )


def test_a_look_that_has_decided_stays_decided():
    first = [0.9, 1.0, 1.2, 1.1]
    text = said_of([*first, -3.0, 4.0, -5.0, 2.0], looks=[4, 8])
    assert 'is above 0' in text
    assert 'of which the one after 4 has decided' in text
    assert 'has decided' not in said_of([-1.0, 3.0, 2.0, -2.0, *first], looks=[4, 8])


def test_without_planned_looks_there_is_one_with_all_seeds(tmp_path):
    study = Study('x', tmp_path, tmp_path, {}, seeds=[3, 4, 5, 6])
    assert study.planned == [4]
    assert 'after 4 seeds, which are not all' in said_of([0.9, 1, 1.2], looks=[], seeds=range(4))


def test_differences_are_adjusted_for_all_that_are_planned(tmp_path):
    arms = dict.fromkeys('abcd')
    study = Study('x', tmp_path, tmp_path, arms, seeds=[0, 1, 2], contrast=('b', 'a'))

    def results(arm, *values):
        return [Result(arm, seed, 'm', value, 1, 1, 1, 1, '') for seed, value in enumerate(values)]

    shown = dict(a=results('a', 0, 0, 0), b=results('b', 1, 2, 4), c=results('c', 1, 2, 4))
    contrast, other = compare_arms(study, shown)  # d has not been run
    assert contrast.p == contrast.test.p_t
    assert other.p == pytest.approx(2 * other.test.p_t)


def test_metrics_are_shown_with_the_digits_that_tell_them_apart(tmp_path):
    study = Study('x', tmp_path, tmp_path, {}, seeds=[0], contrast=('b', 'a'))
    metrics = {'accuracy/top1': 99.41, 'agreement/samples': 10_000.0, 'mine/x': 0.00123456}

    def result(arm, more):
        own = {name: value + more for name, value in metrics.items()}
        return [Result(arm, 0, 'm', 0, 1, 1, 1, 1, '', metrics=own)]

    table = metrics_markdown(study, dict(a=result('a', 0), b=result('b', 0)))
    assert '| accuracy/top1 | 99.41 | 99.41 | +0.00 |' in table
    assert '| agreement/samples | 10000 | 10000 | +0 |' in table
    assert '| mine/x | 0.001235 | 0.001235 | +0 |' in table
    whole = {**metrics, 'accuracy/top1': 71.0}
    metrics = whole
    table = metrics_markdown(study, dict(a=result('a', 0), b=result('b', 1)))
    assert '| accuracy/top1 | 71.00 | 72.00 | +1.00 |' in table
