import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from mmbss.engine.repairs import openmmlab_stack

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


@pytest.mark.parametrize('package', ['mmengine', 'mmcv', 'mmpretrain'])
def test_a_missing_package_is_named_with_the_command_that_installs_it(site_without, package):
    completed = site_without('import mmbss', package)
    last = completed.stderr.strip().splitlines()[-1]
    assert completed.returncode == 1
    assert last.startswith(
        f'ImportError: mmbss needs {package}: run "pip install mmbss[openmmlab]"'
    )


def test_two_copies_of_a_package_are_refused_with_the_command_that_removes_them(site_without):
    completed = site_without('import mmbss', extra=('mmpretrain', 'onedl-mmpretrain'))
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
    monkeypatch.setattr(openmmlab_stack, 'is_installed', installed.__contains__)
    if message is None:
        openmmlab_stack.check_openmmlab_stack()
    else:
        with pytest.raises(ImportError, match=message):
            openmmlab_stack.check_openmmlab_stack()
