import pytest

from mmbss.engine.class_names import as_names
from mmbss.engine.errors import ConfigError
from mmbss.engine.trial.sides import Side, compare_sides

COMPOSED, DECOMPOSED = f'caf{chr(0xE9)}', f'cafe{chr(0x301)}'


@pytest.mark.parametrize('names', [[COMPOSED, 'tea'], [DECOMPOSED, 'tea'], ('tea', DECOMPOSED)])
def test_an_accent_is_no_other_class(names):
    sides = [Side('data', as_names([COMPOSED, 'tea'])), Side('teacher', as_names(names))]
    if names[1] == 'tea':
        compare_sides(sides, 2)
    else:
        with pytest.raises(ConfigError):
            compare_sides(sides, 2)


@pytest.mark.parametrize('classes', [None, 5, 'ab', [], {}])
def test_what_is_no_list_has_no_names(classes):
    assert as_names(classes) is None
