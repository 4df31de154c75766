"""Every tool answers a question about its flags before it imports what takes seconds."""

import json
from pathlib import Path

import pytest

from mmbss.engine.commands import new_parser

TOOLS = sorted(Path(__file__).parents[2].glob('tools/*.py'))
#: One process asks all of them; each answer is the exit code, and whether torch has been imported.
ASK = """
import contextlib, io, json, runpy, sys
answers = {}
for tool in sys.argv[1:]:
    for flag in ('--help', '--no-such-flag'):
        said = io.StringIO()
        sys.argv = [tool, flag]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                runpy.run_path(tool, run_name='__main__')
                code = None
            except SystemExit as end:
                code = end.code
        answers[f'{tool} {flag}'] = [code, 'torch' in sys.modules, said.getvalue()]
print(json.dumps(answers))
"""


@pytest.fixture(scope='module')
def answers(python):
    return json.loads(python('-c', ASK, *TOOLS).stdout)


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: path.stem)
@pytest.mark.parametrize(('flag', 'expected'), [('--help', 0), ('--no-such-flag', 2)])
def test_flags_are_read_without_torch(answers, tool, flag, expected):
    code, imported, said = answers[f'{tool} {flag}']
    assert (code, imported) == (expected, False)
    assert said.startswith(f'usage: {tool.name}')


def test_a_flag_says_what_it_is_where_it_is_left_out():
    parser = new_parser('What it does.\n\n    as it is laid out')
    parser.add_argument('--share', type=float, default=0.5, help='in % of all')
    parser.add_argument('--methods', nargs='+', default=['kd', 'bss'], help='all')
    parser.add_argument('--quick', action='store_true', help='no default')
    parser.add_argument('--out', help='nothing')
    parser.add_argument('--seed', default=0, help='of all')
    said = ' '.join(parser.format_help().split())
    assert '--share SHARE in % of all (default: 0.5)' in said
    assert 'all (default: kd bss) --quick no default --out OUT nothing --seed' in said
    assert said.endswith('of all (default: 0)')
    assert '\n    as it is laid out\n' in parser.format_help()


def test_commands_in_a_help_keep_their_lines(answers):
    for tool in TOOLS:
        said = answers[f'{tool} --help'][2]
        assert max(map(len, said.splitlines())) <= 100, tool
