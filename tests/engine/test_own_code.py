import sys

import pytest

from mmbss.engine.own_code import code_digests, own_modules

CODE = 'def scaled(x):\n    return 2 * x\n'


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Folder of a package of a user's own, ``lab`` with ``losses`` and ``nets.wide``."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / 'lab'
    (folder / 'nets').mkdir(parents=True)
    for name in ('__init__.py', 'losses.py', 'nets/__init__.py', 'nets/wide.py'):
        (folder / name).write_text(CODE)
    yield folder
    for name in [name for name in sys.modules if name.partition('.')[0] == 'lab']:
        del sys.modules[name]


@pytest.mark.parametrize(
    ('module', 'changed', 'shows'),
    [
        ('lab.losses', 'losses.py', True),
        ('lab.losses', 'nets/wide.py', False),
        ('lab.nets', 'nets/wide.py', True),
        ('lab', 'nets/wide.py', True),
        ('lab', 'losses.py', True),
    ],
)
def test_what_a_module_does_is_known(lab, module, changed, shows):
    before = code_digests([module])
    assert [*before] == [module]
    (lab / changed).write_text('# twice\n' + CODE.replace('2 * x', '(2*x)'))
    assert code_digests([module]) == before, 'a comment and another format'
    (lab / changed).write_text(CODE.replace('2', '3'))
    assert (code_digests([module]) != before) == shows


def test_what_is_installed_or_unknown_is_left_out(lab):
    assert code_digests(['torch.nn', 'json', 'mmpretrain', 'no_such.module', 'lab.none', '']) == {}


def test_code_that_no_python_reads_is_known_too(lab):
    (lab / 'losses.py').write_text('def (')
    before = code_digests(['lab'])
    (lab / 'losses.py').write_text('def ((')
    assert code_digests(['lab']) != before


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
