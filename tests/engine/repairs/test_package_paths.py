import sys
from pathlib import Path

import mmpretrain
import pytest
from mmengine.config import Config

import mmbss
from mmbss.engine.repairs.package_paths import get_installed_path, is_installed


def test_configs_inherit_from_packages_without_pkg_resources(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pkg_resources', None)
    for base in ('mmbss::mnist/cnn_1xb128-6e_mnist.py', 'mmpretrain::lenet/lenet5_mnist.py'):
        assert Config.fromstring(f'_base_ = {base!r}', '.py').model


@pytest.mark.parametrize('name', ['mmpretrain', 'mmbss', 'mmbss.registry'])
def test_a_package_lies_where_it_is_imported_from(name):
    package = mmpretrain if name == 'mmpretrain' else mmbss
    assert get_installed_path(name) == str(Path(package.__file__).parent)
    assert is_installed(name)


def test_a_package_is_found_by_the_name_of_its_distribution():
    assert Path(get_installed_path('scikit-learn')).name == 'sklearn'


def test_what_is_not_there_is_not_found():
    assert not is_installed('no_such_package')
    with pytest.raises(ModuleNotFoundError):
        get_installed_path('no-such-package')
