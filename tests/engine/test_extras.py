import pytest

from mmbss.engine.extras import EXTRAS, named_extra


def test_another_missing_module_keeps_its_error():
    with pytest.raises(ModuleNotFoundError, match='no_such_module'), named_extra():
        import no_such_module  # noqa: F401


def test_the_registries_load_no_package_that_they_can_do_without(python):
    names = dict(HOOKS='BSSHook', METRICS='Agreement', DATASETS='Digits')
    asked = [f'assert registry.{kind}.get({name!r})' for kind, name in names.items()]
    # pandas comes with what scikit-learn is built from
    loaded = f'print((set(sys.modules) - theirs) & set({[*EXTRAS, "pandas"]}))'
    # mmengine imports transformers where it is installed
    theirs = ['import sys, mmbss, mmpretrain.models', 'theirs = set(sys.modules)']
    code = '; '.join([*theirs, 'from mmbss import registry', *asked, loaded])
    assert python('-c', code).stdout.splitlines()[-1] == 'set()'
