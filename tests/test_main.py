import sys

import pytest

from mmbss.__main__ import main
from mmbss.engine.commands import find_tools
from mmbss.version import __version__


@pytest.fixture
def mmbss(monkeypatch, capsys):
    """Call the command; gives its exit code and what it has written."""

    def call(*arguments, program='/somewhere/bin/mmbss'):
        monkeypatch.setattr(sys, 'argv', [program, *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return code, ''.join(capsys.readouterr())

    return call


@pytest.mark.parametrize('arguments', [(), ('-h',), ('--help',)])
def test_help_has_a_line_for_each_command(mmbss, arguments):
    code, said = mmbss(*arguments)
    assert code == 0
    lines = {line.split()[0]: line for line in said.splitlines() if line.startswith('  ')}
    assert list(lines) == list(find_tools())
    assert lines['train'].endswith('from a config file')


def test_help_imports_neither_torch_nor_mmengine(python, tmp_path):
    code = 'import sys; from mmbss.__main__ import main; main(); print(*sys.modules)'
    modules = python('-c', code, cwd=tmp_path).stdout.splitlines()[-1].split()
    assert 'mmbss' in modules
    assert not {'torch', 'mmengine', 'mmcv', 'numpy'} & set(modules)


@pytest.mark.parametrize(('name', 'hint'), [('trian', 'did you mean train'), ('xyz', '--help')])
def test_an_unknown_command_is_refused_with_a_near_one(mmbss, name, hint):
    code, _ = mmbss(name)
    assert f'no command {name!r}: ' in code
    assert hint in code


def test_the_version_is_said(mmbss):
    assert mmbss('--version') == (0, f'mmbss {__version__}\n')


@pytest.mark.parametrize(
    ('program', 'name'), [('/bin/mmbss', 'mmbss'), ('/x/mmbss/__main__.py', 'python -m mmbss')]
)
def test_the_script_reads_the_rest_and_goes_by_the_name_of_the_command(mmbss, program, name):
    code, said = mmbss('shift-bias', '--help', program=program)
    assert code == 0
    assert said.startswith(f'usage: {name} shift-bias ')
    assert f'    {name} shift-bias configs/mnist' in said
    assert mmbss('shift-bias', '--no-such-flag', program=program)[0] == 2


def test_a_mistake_ends_it_in_one_line(mmbss, tmp_path):
    code, _ = mmbss('train', str(tmp_path / 'missing.py'))
    assert code.startswith('error: config ')
    assert '\n' not in code
