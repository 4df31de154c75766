import shlex
import sys

import pytest

from mmbss.engine.commands import as_called, find_tools, new_parser, this_command
from mmbss.engine.errors import ConfigError, readable_errors

#: As what a process may have been started, and as what that names tools/dataset_to_npz.py.
STARTS = {
    '/some folder/tools/train.py': 'python tools/dataset_to_npz.py',
    'mmbss train': 'mmbss dataset-to-npz',
    'python -m mmbss train': 'python -m mmbss dataset-to-npz',
}


@pytest.fixture(params=STARTS)
def start(request, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [request.param, 'config.py'])
    return request.param


def test_each_script_is_a_command(root):
    tools = find_tools()
    assert {path.name for path in tools.values()} == {p.name for p in root.glob('tools/*.py')}
    assert all(path.is_file() for path in tools.values())
    assert list(tools)[:2] == ['train', 'test']


def test_tools_are_named_as_this_one_was_called(start):
    assert as_called('first: python tools/dataset_to_npz.py X') == f'first: {STARTS[start]} X'
    bare = STARTS[start].removeprefix('python tools/')
    assert as_called('use tools/dataset_to_npz.py.').endswith(f'{bare}.')


def test_files_of_the_user_are_no_commands(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['mmbss train'])
    for text in ('no file /home/me/tools/train.py', 'my_tools/train.py', 'tools/train.pyc'):
        assert as_called(text) == text


def test_the_own_command_line_can_be_typed_again(start):
    words = shlex.split(this_command('a config.py', '--resume'))
    own = ['python', start] if start.endswith('.py') else start.split()
    assert words == [*own, 'a config.py', '--resume']


def test_help_and_mistakes_name_the_command(start, capsys):
    with pytest.raises(SystemExit):
        new_parser('    python tools/dataset_to_npz.py X').parse_args(['--help'])
    assert f'    {STARTS[start]} X' in capsys.readouterr().out
    with pytest.raises(SystemExit) as end, readable_errors():
        raise ConfigError('write it with tools/dataset_to_npz.py')
    assert str(end.value).endswith(STARTS[start].removeprefix('python '))
