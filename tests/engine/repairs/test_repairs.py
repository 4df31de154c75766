"""The repairs are in force whatever was imported first, and importing mmbss imports nothing."""

from pathlib import Path

import pytest

from mmbss.engine import repairs
from mmbss.engine.repairs import REPAIRS

#: Imported by nothing that does without it.
HEAVY = (
    *('mmengine.runner', 'mmpretrain', 'torchvision', 'mmcv', 'cv2'),
    *('sklearn', 'pandas', 'matplotlib', 'scipy'),
)

#: What each repair has changed, once its library is imported.
CHANGED = {
    'activation_checkpointing': """
from mmengine.runner import activation_checkpointing
assert activation_checkpointing.checkpoint.keywords == dict(use_reentrant=False)
""",
    'checkpoint_loading': """
from mmengine.runner.checkpoint import CheckpointLoader, load_from_http
loaders = {*CheckpointLoader._schemes.values(), load_from_http}
own = {loader for loader in loaders if loader.__module__.startswith('mmbss.')}
assert {loader.__name__ for loader in loaders - own} == {
    'load_from_openmmlab', 'load_from_mmcls', 'load_from_torchvision'}, loaders
""",
    'checkpoint_saving': """
import mmengine.runner.runner
from mmengine.runner import save_checkpoint
assert save_checkpoint.__wrapped__ and mmengine.runner.runner.save_checkpoint is save_checkpoint
""",
    'config_dump': """
from mmengine.config import Config
assert '{{' not in Config(dict(name='{{x}}')).pretty_text
""",
    'config_package': """
from mmengine.config import Config
assert Config.fromstring("_base_ = 'mmbss::baseline/resnet14_1xb64-30e_digits.py'", '.py').model
""",
    'failed_resume': """
from mmengine.runner import Runner
assert Runner.resume.__wrapped__
""",
    'fitting_weights': """
from mmengine.runner.checkpoint import load_state_dict
assert load_state_dict.__wrapped__
""",
    'history_buffers': """
from mmengine.logging import MessageHub
assert MessageHub.state_dict.__wrapped__ and MessageHub.load_state_dict.__wrapped__
""",
    'missing_archives': """
from mmpretrain.datasets import CIFAR100, FashionMNIST
assert CIFAR100.load_data_list.__wrapped__ and FashionMNIST.load_data_list.__wrapped__
""",
    'negative_hue': """
import mmcv, numpy
from mmcv.image.photometric import adjust_hue
assert adjust_hue is mmcv.adjust_hue
mmcv.adjust_hue(numpy.zeros((1, 1, 3), numpy.uint8), -0.1)
""",
    'own_registries': """
from mmengine.registry import MODELS
assert MODELS.get('mmbss.KDLoss')
""",
    'package_paths': """
import mmengine.config.config
from mmengine.utils import get_installed_path, is_installed
for function in (get_installed_path, is_installed, mmengine.config.config.is_installed):
    assert 'pkg_resources' not in function.__code__.co_names
""",
    'pointer_file': """
import mmengine.hooks.checkpoint_hook
assert mmengine.hooks.checkpoint_hook.open.__module__ == 'mmbss.engine.repairs.pointer_file'
""",
    'stale_metrics': """
from mmengine.hooks import RuntimeInfoHook
assert RuntimeInfoHook.after_val_epoch.__wrapped__
""",
    'torchvision_operators': """
import mmpretrain.models
""",
    'unusable_images': """
from mmengine.dataset import Compose
assert Compose.__call__.__wrapped__
""",
}


def test_every_repair_is_tried_here():
    assert sorted(CHANGED) == sorted(name for names in REPAIRS.values() for name in names)


def test_every_module_of_the_folder_is_in_the_table_or_is_called_by_name():
    files = {path.stem for path in Path(repairs.__file__).parent.glob('*.py')}
    by_name = {'__init__', 'import_warnings', 'openmmlab_stack'}
    assert files - by_name == set(CHANGED)


#: Without mmbss, mmpretrain's datasets may not be imported, see torchvision_operators.
BEFORE = ', '.join(library for library in REPAIRS if library != 'mmpretrain.datasets')


TWICE = """
from mmengine.runner import Runner
from mmbss.engine.repairs import repair_platform
once = Runner.resume
repair_platform()
assert Runner.resume is once
"""


@pytest.mark.parametrize('before', ['', f'import {BEFORE}'], ids=['first', 'last'])
def test_all_are_in_force_once_whether_mmbss_is_imported_first_or_last(python, before):
    python('-c', '\n'.join([before, 'import mmbss', *CHANGED.values(), TWICE]))


def test_without_mmbss_nothing_is_changed(python):
    code = """
from mmengine.runner import Runner
from mmengine.dataset import Compose
print([hasattr(each, '__wrapped__') for each in (Runner.resume, Compose.__call__)])
"""
    assert python('-c', code).stdout.splitlines()[-1] == '[False, False]'


@pytest.mark.parametrize('module', ['mmbss', 'mmbss.registry'])
def test_importing_the_package_imports_no_library_that_it_repairs(python, module):
    code = f'import sys, {module}; print(sorted(set({("torch", *HEAVY)}) & set(sys.modules)))'
    assert python('-c', code).stdout.splitlines()[-1] == '[]'


@pytest.mark.parametrize('room', ['losses', 'boundary'])
def test_what_the_method_is_made_of_is_quickly_there(python, room):
    code = f'import sys, mmbss.{room}; print(sorted(set({HEAVY}) & set(sys.modules)))'
    assert python('-c', code).stdout.splitlines()[-1] == '[]'
