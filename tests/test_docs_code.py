"""The Python of the pages parses, and names only what is there."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import mmbss
from mmbss import registry

ROOT = Path(mmbss.__file__).resolve().parents[1]
BLOCK = re.compile(r'^```python\n(.*?)^```', re.M | re.S)
PAGES = {
    str(page.relative_to(ROOT)): blocks
    for page in [ROOT / 'README.md', *ROOT.glob('docs/**/*.md'), *ROOT.glob('zoo/*.md')]
    if not {'files', '_build'} & {*page.parts}
    and (blocks := BLOCK.findall(page.read_text(encoding='utf-8')))
}
REGISTRIES = [each for each in vars(registry).values() if isinstance(each, registry.Registry)]
#: What the place of a dict in a config takes, beside the class that it names.
OF_THE_PLACE = {'_delete_', '_scope_', 'priority', 'student_logits'}


@pytest.fixture(params=PAGES)
def trees(request):
    """The syntax tree of each block of a page."""
    return [ast.parse(block) for block in PAGES[request.param]]


def nodes(trees, kind):
    return (node for tree in trees for node in ast.walk(tree) if isinstance(node, kind))


def test_what_it_imports_is_there(trees):
    for node in nodes(trees, ast.Import):
        for alias in node.names:
            assert not alias.name.startswith('mmbss') or importlib.import_module(alias.name)
    for node in nodes(trees, ast.ImportFrom):
        if node.module.split('.')[0] == 'mmbss':
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_the_configs_that_it_names_are_there(trees):
    texts = [str(node.value) for node in nodes(trees, ast.Constant)]
    named = [text for text in texts if re.fullmatch(r'mmbss::[\w/-]+\.py', text)]
    missing = [name for name in named if not (ROOT / 'configs' / name[7:]).is_file()]
    assert missing == []


def find_class(name):
    for each in REGISTRIES:
        each.import_from_location()
        if name in each.module_dict:
            return each.module_dict[name]
    return None


def parameters(cls):
    """Names of all that a class and those it derives from can be given."""
    inits = [vars(each)['__init__'] for each in cls.__mro__ if '__init__' in vars(each)]
    return {name for init in inits[:-1] for name in inspect.signature(init).parameters}


def test_a_setting_that_no_class_takes_is_told_from_others():
    assert {'num_steps', 'step_size'} <= parameters(find_class('BSSAttack'))
    assert 'num_step' not in parameters(find_class('BSSAttack'))
    assert find_class('BSSAtack') is None


def test_the_classes_that_its_configs_name_take_what_they_are_given(trees):
    own = {f'mmbss.{node.name}' for node in nodes(trees, ast.ClassDef)}
    wrong = []
    for call in nodes(trees, ast.Call):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        kind = getattr(given.get('type'), 'value', None)
        if not isinstance(kind, str) or not kind.startswith('mmbss.') or kind in own:
            continue
        cls = find_class(kind.removeprefix('mmbss.'))
        if cls is None:
            wrong.append(kind)
        elif not inspect.isfunction(cls):
            allowed = {'type', *OF_THE_PLACE} | parameters(cls)
            wrong += [f'{kind}: {name}' for name in given if name and name not in allowed]
    assert wrong == []
