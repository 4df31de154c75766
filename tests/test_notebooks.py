"""The code cells of the notebooks parse, and name only what exists."""

import ast
import importlib
import json
import re

import pytest

from mmbss.engine.commands import find_tools


@pytest.fixture(params=['attack', 'distil'])
def cells(request, root):
    """The code cells of a notebook."""
    book = json.loads((root / 'notebooks' / f'{request.param}.ipynb').read_text())
    return [cell for cell in book['cells'] if cell['cell_type'] == 'code']


def code_of(cell):
    """Its Python: of a file that it writes, the content."""
    return re.sub(r'\A%%writefile \w+\.py\n', '', ''.join(cell['source']))


def test_what_they_import_is_there(cells):
    for tree in (ast.parse(code_of(cell)) for cell in cells):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert all(importlib.util.find_spec(alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module.startswith('mmbss'):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


def test_the_configs_and_commands_that_they_name_are_there(cells, root):
    text = '\n'.join(map(code_of, cells))
    assert all((root / 'configs' / name).is_file() for name in re.findall(r"'mmbss::(.+?)'", text))
    assert {*re.findall(r"\bmmbss\(\s*'([\w-]+) ", text)} <= {*find_tools()}


def test_no_output_is_stored(cells):
    assert all(cell['outputs'] == [] and cell['execution_count'] is None for cell in cells)
