"""Images that are no pixels of [0, 255], which metrics refuse that measure in pixels."""

import pytest

from mmbss.engine.errors import ConfigError

FGSM = dict(fgsm=dict(type='mmbss.FGSMAttack', radius=2.0))


@pytest.mark.parametrize(
    'metric',
    [
        dict(type='mmbss.RobustAccuracy', attacks=FGSM),
        dict(type='mmbss.CorruptionAccuracy'),
        dict(type='mmbss.BoundaryVisibility'),
    ],
    ids=lambda metric: metric['type'],
)
@pytest.mark.parametrize('unit', [1 / 255, 257.0])
def test_images_that_are_no_pixels_are_refused(
    metric, unit, evaluate, student, digits_teacher, digits
):
    inputs, samples = digits
    if metric['type'] == 'mmbss.BoundaryVisibility':
        metric = dict(metric, teacher=digits_teacher)
    of_unit = (inputs * unit, samples)
    with pytest.raises(ConfigError, match=f'^{metric["type"][6:]}: images have pixels from'):
        evaluate(metric, student, of_unit)


def test_a_teacher_that_normalises_pixels_itself_is_given_no_others(
    evaluate, student, digits_teacher, digits
):
    inputs, samples = digits
    metric = dict(type='mmbss.Agreement', teacher=dict(digits_teacher, mean=[120.0], std=[60.0]))
    evaluate(metric, student, digits)
    with pytest.raises(ConfigError, match=r'^Agreement: images have pixels from 0 to 1, so that'):
        evaluate(metric, student, (inputs / 255, samples))
    # whatever the unit, it gets what the student gets
    evaluate(dict(metric, teacher=digits_teacher), student, (inputs / 255, samples))


def test_black_images_at_the_beginning_are_no_other_unit(evaluate, student, digits):
    inputs, samples = digits
    dark = inputs.clone()
    dark[:25] = dark[:25].clamp(max=1)  # the first batch
    evaluate(dict(type='mmbss.RobustAccuracy', attacks=FGSM), student, (dark, samples))
