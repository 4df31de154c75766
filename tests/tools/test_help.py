"""Every tool answers a question about its flags before it imports what takes seconds."""

from pathlib import Path

import pytest

TOOLS = sorted(Path(__file__).parents[2].glob('tools/*.py'))
ANSWER = """
import runpy, sys
sys.argv = [{tool!r}, {flag!r}]
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as end:
    print(end.code, 'torch' in sys.modules)
"""


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: path.stem)
def test_help_imports_no_torch(python, tool):
    lines = python('-c', ANSWER.format(tool=str(tool), flag='--help')).stdout.splitlines()
    assert lines[0].startswith(f'usage: {tool.name}')
    assert lines[-1] == '0 False'


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: path.stem)
def test_an_unknown_flag_is_refused_as_quickly(python, tool):
    completed = python('-c', ANSWER.format(tool=str(tool), flag='--no-such-flag'))
    assert completed.stdout.splitlines()[-1] == '2 False'
