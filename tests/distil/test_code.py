import pytest
from mmengine.config import Config

from mmbss.distil.code import WIDTH, as_code, assignment, comment


@pytest.mark.parametrize(
    'value',
    [
        {},
        dict(type='A', items=[dict(type='B', size=(3, 4)), (1,), None, True, 0.5]),
        {'of two words': 1, 'a.b': dict(c=[])},
        dict(long=['a' * 30] * 5, deep=dict(deeper=dict(deepest=['b' * 40] * 3))),
        'a "quoted" text',
    ],
)
def test_reads_back_as_it_was(value):
    assert eval(as_code(value)) == value


def test_a_config_of_short_lines(tmp_path):
    value = dict(items=[dict(type='B' * 20, size=(300, 400))] * 5)
    text = comment('why ' * 60) + assignment('model', value)
    assert max(map(len, text.splitlines())) <= WIDTH
    (tmp_path / 'config.py').write_text(text)
    assert Config.fromfile(tmp_path / 'config.py').model.to_dict() == value
