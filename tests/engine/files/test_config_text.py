import pytest
from mmengine.config import Config

from mmbss.engine.errors import ConfigError
from mmbss.engine.files.config_text import WIDTH, as_code, assignment, comment, read_written
from mmbss.studies.runs import Run

#: With it the reader of mmengine, left to itself, runs what follows the quotation mark.
HOSTILE = r'{{$A:|\',__import__("os").system(":>pwned"),#}}'
NAMES = [HOSTILE, '{{ fileBasename }}', '{{$HOME:x}}', '{{{{a}}}}', "it's", *'abcdefg']
SETTINGS = dict(
    model=dict(names=NAMES, sizes=(1, -2.5e-3), none=None, empty=dict(), keys={'a b': dict(c=1)}),
    hooks=[dict(type='A', on=True), [1, [2]]],
    top=3,
)


def dumped(tmp_path):
    return Config(SETTINGS).pretty_text


def distilled(tmp_path):
    settings = ''.join(assignment(name, value) for name, value in SETTINGS.items())
    return comment(f'The images of {HOSTILE}') + settings


def of_a_study(tmp_path):
    (tmp_path / 'given.py').write_text(dumped(tmp_path))
    return Run('', str(tmp_path / 'given.py'), 0, tmp_path).written()


@pytest.mark.parametrize('written', [dumped, distilled, of_a_study])
def test_a_config_that_was_written_is_read_as_what_it_was(tmp_path, monkeypatch, written):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / 'config.py'
    file.write_text(written(tmp_path))
    for read in (Config.fromfile(file).to_dict(), read_written(file)):
        assert {name: read[name] for name in SETTINGS} == SETTINGS
    assert not (tmp_path / 'pwned').exists()


@pytest.mark.parametrize(
    'text',
    [
        "__import__('pathlib').Path('pwned').touch()",
        "a = __import__('pathlib').Path('pwned').touch()",
        *(
            'a = dict([(1, 2)])',
            'a = dict(**b)',
            'a = dict({}, b=1)',
            'a = {**b}',
            'a = b',
            'a, b = 1, 2',
            'a = [',
        ),
        *('import os', 'a = f"{b}"', f'a = {"(" * 5000}'),
    ],
)
def test_anything_but_settings_is_refused_and_not_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / 'config.py'
    file.write_text(text)
    with pytest.raises(ConfigError, match=r'config\.py: .* no config that a training has written'):
        read_written(file)
    assert not (tmp_path / 'pwned').exists()


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
