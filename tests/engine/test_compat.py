import os
import pickle
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmcv.image import photometric
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from mmbss import compat

SITE = Path(sysconfig.get_paths()['purelib'])


@pytest.fixture
def site_without(tmp_path, root):
    """Run Python in a copy of this environment that lacks some packages, or has more of them."""

    def run(code, *missing, extra=()):
        site = tmp_path / 'site'
        site.mkdir()
        for entry in SITE.iterdir():
            if not entry.name.lower().startswith(missing) and entry.suffix != '.pth':
                (site / entry.name).symlink_to(entry)
        for name in extra:
            folder = site / f'{name.replace("-", "_")}-9.9.dist-info'
            folder.mkdir()
            (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n')
        return subprocess.run(
            [sys.executable, '-S', '-c', code],
            env=dict(os.environ, PYTHONPATH=f'{root}{os.pathsep}{site}', OMP_NUM_THREADS='1'),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )

    return run


# ---------------------------------------------------------------- which stack is installed


@pytest.mark.parametrize('package', ['mmengine', 'mmcv', 'mmpretrain'])
def test_a_missing_package_is_named_with_the_command_that_installs_it(site_without, package):
    completed = site_without('import mmbss', package)
    last = completed.stderr.strip().splitlines()[-1]
    assert completed.returncode == 1
    assert last.startswith(
        f'ImportError: mmbss needs {package}: in its folder, run "pip install -e .[openmmlab]"'
    )


def test_two_copies_of_a_package_are_refused_with_the_command_that_removes_them(site_without):
    completed = site_without('import mmbss', extra=('onedl-mmpretrain',))
    last = completed.stderr.strip().splitlines()[-1]
    assert completed.returncode == 1
    assert 'mmpretrain and onedl-mmpretrain are installed together' in last
    assert 'pip uninstall -y mmpretrain onedl-mmpretrain' in last


@pytest.mark.parametrize(
    ('installed', 'message'),
    [
        ({'mmengine', 'mmcv', 'mmpretrain'}, None),
        ({'mmengine', 'mmcv-lite', 'mmpretrain'}, None),
        ({'onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain'}, None),
        ({'mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain'}, 'mmcv and mmcv-lite are installed'),
        ({'mmengine', 'mmcv-lite', 'onedl-mmcv', 'mmpretrain'}, 'mmcv-lite and onedl-mmcv are'),
    ],
)
def test_one_copy_of_each_package_is_accepted(monkeypatch, installed, message):
    monkeypatch.setattr(compat, '_is_installed', installed.__contains__)
    if message is None:
        compat.check_openmmlab_stack()
    else:
        with pytest.raises(ImportError, match=message):
            compat.check_openmmlab_stack()


# ---------------------------------------------------------------- torchvision


def test_a_torchvision_that_imports_is_left_alone(monkeypatch):
    defined = []
    monkeypatch.setattr(torch.library, 'Library', lambda *args: defined.append(args))
    compat.declare_torchvision_operators()
    assert defined == []


def test_a_torchvision_of_another_build_becomes_importable(tmp_path, python, root):
    package = tmp_path / 'torchvision'
    package.mkdir()
    # what such a wheel does: fake versions of operators whose library could not be loaded
    (package / '__init__.py').write_text(
        'import torch\n'
        "torch.library.register_fake('torchvision::nms')(lambda dets, scores, threshold: dets)\n"
        "torch.library.register_fake('torchvision::qnms')(lambda *args: args[0])\n"
    )
    # the package itself imports torchvision, so only the one module is loaded
    load = (
        'import importlib.util as u\n'
        f'spec = u.spec_from_file_location("compat", {str(root / "mmbss" / "compat.py")!r})\n'
        'module = u.module_from_spec(spec)\n'
        'spec.loader.exec_module(module)\n'
    )
    environment = dict(PYTHONPATH=str(tmp_path))
    broken = python('-c', 'import torchvision', check=False, environment=environment)
    assert 'operator torchvision::nms does not exist' in broken.stderr
    python(
        '-c',
        f'{load}module.declare_torchvision_operators()\nimport torchvision',
        environment=environment,
    )


def test_other_errors_of_torchvision_are_not_hidden(monkeypatch):
    def broken(name):
        raise RuntimeError('out of memory')

    monkeypatch.setattr(compat, 'import_module', broken)
    with pytest.raises(RuntimeError, match='out of memory'):
        compat.declare_torchvision_operators()


# ---------------------------------------------------------------- checkpoints


def history():
    return HistoryBuffer([1.0, 2.0], [1, 1])


def test_mmengines_checkpoints_are_read_with_weights_only(tmp_path):
    content = dict(
        state_dict={'a': torch.ones(2)},
        message_hub=dict(log_scalars=dict(loss=history()), runtime_info=dict(x=np.float64(1.5))),
        other=[np.arange(3), np.int64(4), np.zeros(2)],
    )
    torch.save(content, tmp_path / 'epoch.pth')
    read = torch.load(tmp_path / 'epoch.pth', weights_only=True)
    assert read['message_hub']['log_scalars']['loss'].current() == 2.0
    assert read['message_hub']['runtime_info']['x'] == 1.5
    np.testing.assert_array_equal(read['other'][0], np.arange(3))


def test_checkpoints_written_under_numpy_1_are_read(tmp_path):
    torch.save(dict(loss=history()), tmp_path / 'new.pth')
    with (
        zipfile.ZipFile(tmp_path / 'new.pth') as new,
        zipfile.ZipFile(tmp_path / 'old.pth', 'w') as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name.endswith('data.pkl'):
                assert b'numpy._core.multiarray' in content
                content = content.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
            old.writestr(name, content)
    assert torch.load(tmp_path / 'old.pth', weights_only=True)['loss'].current() == 2.0


def test_without_the_repair_they_are_refused(tmp_path):
    torch.save(dict(loss=history()), tmp_path / 'epoch.pth')
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / 'epoch.pth', weights_only=True)
        compat.allow_mmengine_checkpoints()
        torch.load(tmp_path / 'epoch.pth', weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)


class CallsSystem:
    def __reduce__(self):
        return os.system, ('true',)


def test_anything_else_stays_refused(tmp_path):
    torch.save(dict(a=CallsSystem()), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


class LooksUp:
    def __init__(self, owner, name):
        self.arguments = owner, name

    def __reduce__(self):
        return getattr, self.arguments


class CallsEval:
    """Calls ``eval`` by way of a function of torch that every checkpoint may call."""

    def __reduce__(self):
        look_up = LooksUp(LooksUp(getattr, '__self__'), 'eval')
        return torch._tensor._rebuild_from_type_v2, (look_up, torch.Tensor, ('1 / 0',), {})


@pytest.mark.parametrize(
    'content',
    [
        CallsEval(),
        LooksUp(getattr, '__self__'),
        LooksUp(HistoryBuffer, 'update'),
        LooksUp(np.ndarray, 'mean'),
    ],
    ids=['eval', 'builtins', 'update', 'ndarray'],
)
def test_no_other_attribute_is_looked_up(tmp_path, content):
    torch.save(dict(a=content), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError, match='may not look up'):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


# ---------------------------------------------------------------- configs of the package


def test_configs_inherit_from_the_package():
    config = Config.fromstring(
        "_base_ = 'mmbss::baseline/resnet14_1xb64-30e_digits.py'\n"
        'model = dict(backbone=dict(depth=20))',
        '.py',
    )
    assert config.model.backbone.depth == 20
    assert config.train_dataloader.dataset.type == 'mmbss.Digits'


def test_several_bases_of_the_package_are_merged():
    config = Config.fromstring(
        "_base_ = ['mmbss::_base_/models/cifar_resnet8.py', "
        "'mmbss::_base_/schedules/digits_30e.py']",
        '.py',
    )
    assert config.train_cfg.max_epochs == 30
    assert config.model.backbone.depth == 8


def test_missing_config_of_the_package_is_named():
    with pytest.raises(Exception, match='no_such_config'):
        Config.fromstring("_base_ = 'mmbss::baseline/no_such_config.py'", '.py')


# ---------------------------------------------------------------- negative hue


@pytest.fixture
def image():
    return np.random.randint(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize('hue', [-0.5, -0.4, -0.1, -0.01])
def test_a_negative_hue_is_the_rest_of_the_circle_in_the_other_direction(image, hue):
    image = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    image[..., 1] = np.maximum(image[..., 1], 64)  # hues of grey pixels mean nothing
    image[..., 2] = np.maximum(image[..., 2], 64)
    image = cv2.cvtColor(image, cv2.COLOR_HSV2BGR_FULL)
    turned = mmcv.adjust_hue(image, hue)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL).astype(int)
    hsv[..., 0] = (hsv[..., 0] + round((1 + hue) * 256)) % 256
    expected = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR_FULL)
    assert turned.dtype == image.dtype
    # one step of the hue moves a channel by at most six values
    assert np.abs(turned.astype(int) - expected.astype(int)).max() <= 12


def test_turning_there_and_back_is_nearly_the_image(image):
    back = mmcv.adjust_hue(mmcv.adjust_hue(image, 0.2), -0.2)
    assert np.abs(back.astype(int) - image.astype(int)).mean() < 8


@pytest.mark.parametrize('hue', [0.0, 0.1, 0.5])
def test_other_hues_are_mmcvs_own(image, hue):
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    hsv[..., 0] += np.uint8(hue * 255)
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)
    np.testing.assert_array_equal(mmcv.adjust_hue(image, hue), expected)


@pytest.mark.parametrize('hue', [-0.6, 0.6])
def test_a_hue_out_of_range_is_refused(image, hue):
    with pytest.raises(ValueError, match='hue_factor'):
        mmcv.adjust_hue(image, hue)


def test_a_sound_adjust_hue_is_left_alone(monkeypatch):
    def sound(img, hue_factor, backend=None):
        return img

    for module in (mmcv, mmcv.image, photometric):
        monkeypatch.setattr(module, 'adjust_hue', sound)
    compat.repair_negative_hue()
    assert mmcv.adjust_hue is mmcv.image.adjust_hue is photometric.adjust_hue is sound


def test_colour_jitter_draws_negative_hues(image):
    from mmpretrain.registry import TRANSFORMS

    jitter = TRANSFORMS.build(dict(type='mmpretrain.ColorJitter', hue=0.5))
    for _ in range(20):
        assert jitter(dict(img=image))['img'].shape == image.shape


# ---------------------------------------------------------------- several processes on a CPU


@pytest.mark.parametrize('launcher', ['none', 'slurm', 'mpi'])
def test_other_launchers_get_no_process_group(launcher):
    config = Config(dict(launcher=launcher))
    compat.prepare_cpu_distributed(config)
    assert not torch.distributed.is_initialized()
    assert 'model_wrapper_cfg' not in config


def test_with_a_gpu_mmengine_makes_the_process_group(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    config = Config(dict(launcher='pytorch'))
    compat.prepare_cpu_distributed(config)
    assert not torch.distributed.is_initialized()
    assert 'model_wrapper_cfg' not in config


@pytest.mark.parametrize('own', [None, dict(type='MMDistributedDataParallel', device_ids=None)])
def test_on_a_cpu_it_is_gloo_and_the_users_wrapper_stays(monkeypatch, own):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    started = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', started.append)
    config = Config(dict(launcher='pytorch', model_wrapper_cfg=own))
    compat.prepare_cpu_distributed(config)
    assert started == ['gloo']
    assert config.model_wrapper_cfg.device_ids is None
    assert ('broadcast_buffers' in config.model_wrapper_cfg) is (own is None)


def test_importing_twice_repairs_once(image):
    before = mmcv.adjust_hue
    compat.repair_platform()
    assert mmcv.adjust_hue is before
