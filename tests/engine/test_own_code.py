import sys

import pytest

from mmbss.engine.own_code import code_digests, files_of, own_modules

CODE = 'def scaled(x):\n    return 2 * x\n'


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Folder of a package of a user's own, ``lab`` with ``losses`` and ``nets.wide``."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / 'lab'
    (folder / 'nets').mkdir(parents=True)
    (folder / 'configs').mkdir()
    imports = {
        'losses.py': 'from lab.nets import wide\nimport torch.nn, no_such_module\n',
        'nets/wide.py': 'def f():\n    from .deep import scaled\n',
    }
    modules = ('__init__', 'losses', 'nets/__init__', 'nets/wide', 'nets/deep', 'configs/study')
    for name in (f'{module}.py' for module in modules):
        (folder / name).write_text(imports.get(name, '') + CODE)
    yield folder
    for name in [name for name in sys.modules if name.partition('.')[0] == 'lab']:
        del sys.modules[name]


@pytest.mark.parametrize(
    ('module', 'changed', 'shows'),
    [
        ('lab.losses', 'losses.py', True),
        ('lab.losses', 'nets/wide.py', True),
        ('lab.losses', 'nets/deep.py', True),
        ('lab.losses', '__init__.py', True),
        ('lab.losses', 'configs/study.py', False),
        ('lab', 'configs/study.py', False),
        ('lab.nets', 'nets/__init__.py', True),
        ('lab.nets', 'losses.py', False),
    ],
)
def test_what_a_module_and_its_imports_do_is_known(lab, module, changed, shows):
    before = code_digests([module])
    assert [*before] == [module]
    text = (lab / changed).read_text()
    (lab / changed).write_text(
        '# twice\n' + text.replace('2 * x', '(2*x)').replace('(x):', '(x):\n    "Twice."')
    )
    assert code_digests([module]) == before, 'a comment, a docstring and another format'
    (lab / changed).write_text(text.replace('2', '3'))
    assert (code_digests([module]) != before) == shows


def test_nothing_is_run_to_be_looked_at(lab):
    (lab / '__init__.py').write_text('raise SystemExit')
    assert [*code_digests(['lab.losses'])] == ['lab.losses']


def test_what_is_installed_or_unknown_is_left_out(lab):
    assert code_digests(['torch.nn', 'json', 'mmpretrain', 'no_such.module', 'lab.none', '']) == {}


def test_code_that_no_python_reads_is_known_too(lab):
    (lab / 'losses.py').write_text('def (')
    before = code_digests(['lab.losses'])
    (lab / 'losses.py').write_text('def ((')
    assert code_digests(['lab.losses']) != before


def test_modules_that_the_config_of_a_teacher_imports(tmp_path):
    config = tmp_path / 'teacher.py'
    config.write_text("custom_imports = dict(imports=['mmbss', 'no.such.module'])")
    assert own_modules(dict(model=dict(teacher=dict(config=str(config))))) == ['no.such.module']


@pytest.mark.parametrize(
    ('cfg', 'modules'),
    [
        ({}, []),
        (dict(custom_imports=None, model=None), []),
        (dict(custom_imports=dict(imports='lab.losses')), ['lab.losses']),
        (dict(custom_imports=dict(imports=['mmbss', 'mmbss.losses', 'lab'])), ['lab']),
        (dict(model=dict(teacher=dict(config='onnx:a.onnx'))), []),
        (
            dict(model=dict(teacher=dict(config=[dict(config='python:lab.nets:make'), {}]))),
            ['lab.nets'],
        ),
    ],
)
def test_modules_that_a_config_names(cfg, modules):
    assert own_modules(cfg) == modules


def test_the_library_itself_is_no_code_of_the_user_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'laboratory.py').write_text('from mmbss.losses import DistillationLoss\n')
    assert files_of('laboratory') == [tmp_path / 'laboratory.py']
