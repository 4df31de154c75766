"""Every tool answers a question about its flags before it imports what takes seconds."""

import json
from pathlib import Path

import pytest

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
