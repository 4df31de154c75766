import pytest

from mmbss.studies.results import Difference, Result, compare_arms
from mmbss.studies.statistics import paired_test
from mmbss.studies.study import Study
from mmbss.studies.study_tables import contrast_in_words, metrics_markdown


def contrast(differences):
    test = paired_test(differences, margin=0.5)
    return Difference('b', 'a', True, test, test.p_t)


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
    assert verdict in contrast_in_words(contrast(differences), looks=[4])


def test_each_of_several_looks_has_a_part_of_the_level():
    shown, equivalent = contrast([0.3, 1.0, 1.6, 0.8]), contrast([-0.4, 0.3, 0.3, 0.1])
    assert 0.05 / 2 < shown.p < 0.05
    assert 0.05 / 2 < equivalent.test.p_equivalence < 0.05
    assert 'above 0' in contrast_in_words(shown, looks=[4])
    assert 'none, within' in contrast_in_words(equivalent, looks=[4])
    for each in (shown, equivalent):
        assert 'not decided' in contrast_in_words(each, looks=[4, 8])


def test_between_its_looks_a_study_gives_no_verdict():
    text = contrast_in_words(contrast([0.9, 1.0, 1.2]), looks=[2, 4])
    assert 'after 2, 4 seeds, not after 3' in text
    assert 'above' not in text


def test_without_planned_looks_there_is_one_with_all_seeds(tmp_path):
    study = Study('x', tmp_path, tmp_path, {}, seeds=[3, 4, 5, 6])
    assert study.planned == [4]
    assert 'after 4 seeds, not after 3' in contrast_in_words(contrast([0.9, 1, 1.2]), study.planned)


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
