import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mmbss.engine.extras import EXTRAS
from mmbss.version import __version__

STACK = ('mmcv', 'mmengine', 'mmpretrain', 'onedl')
SOURCES = ['mmbss', 'configs', 'tools', 'zoo', 'requirements']


@pytest.fixture(scope='module')
def source(tmp_path_factory, root):
    """A copy of what git holds of the package, to build in."""
    folder = tmp_path_factory.mktemp('source')
    listed = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    files = listed or [
        str(path.relative_to(root))
        for pattern in ('*.*', *(f'{name}/**/*' for name in SOURCES))
        for path in root.glob(pattern)
    ]
    for name in files:
        path, target = root / name, folder / name
        if name.startswith(('tests/', 'docs/', 'data/', 'work_dirs/')) or not path.exists():
            continue
        if path.is_dir() and not path.is_symlink():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)
    return folder


def read(root, name):
    return (root / name).read_text()


def build(source, kind, target, before=''):
    code = f'from setuptools import build_meta; print(build_meta.build_{kind}({str(target)!r}))'
    code = before + code
    completed = subprocess.run(
        [sys.executable, '-c', code], cwd=source, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr[-2000:]
    return target / completed.stdout.strip().splitlines()[-1]


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    earlier = source / 'build' / 'lib' / 'mmbss'
    earlier.mkdir(parents=True)
    (earlier / 'gone.py').touch()  # of an earlier build
    return build(source, 'wheel', tmp_path_factory.mktemp('wheel'))


def test_the_wheel_holds_configs_and_tools_for_mim(wheel, root):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'tools', 'zoo'):
        for path in (root / folder).glob('**/*'):
            if path.suffix in ('.py', '.sh', '.safetensors', '.yml'):
                assert f'mmbss/.mim/{path.relative_to(root)}' in names
    assert {'mmbss/.mim/model-index.yml', 'mmbss/__main__.py', 'mmbss/py.typed'} <= names
    assert {name.split('/')[0] for name in names if '.dist-info' not in name} == {'mmbss'}


def test_the_wheel_holds_what_the_modules_read_beside_them(wheel, source):
    names = set(zipfile.ZipFile(wheel).namelist())
    for pattern in ('acceleration/*.cpp', 'acceleration/*.h', 'report/templates/*'):
        files = list((source / 'mmbss').glob(pattern))
        assert files
        assert {str(file.relative_to(source)) for file in files} <= names


def test_the_wheel_requires_no_openmmlab_package_of_its_own(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith('.dist-info/METADATA')]
    headers = HeaderParser().parsestr(archive.read(name).decode())
    requirements = [Requirement(line) for line in headers.get_all('Requires-Dist')]
    always = {each.name for each in requirements if each.marker is None}
    assert always == {'filelock', 'numpy', 'safetensors', 'torch', 'torchvision', 'wrapt'}
    assert any(each.name.startswith(STACK) for each in requirements)
    assert set(EXTRAS.values()) <= set(headers.get_all('Provides-Extra'))
    assert headers['Requires-Python'] == '>=3.11'
    assert headers['License-Expression'] == 'Apache-2.0'
    assert headers['Description-Content-Type'] == 'text/markdown'


def test_an_installed_wheel_has_the_command_and_finds_its_configs(wheel, tmp_path, python):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        'import mmbss\n'
        'from mmengine.config import Config\n'
        "base = 'mmbss::bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'\n"
        "print(mmbss.__file__, Config.fromstring(f'_base_ = {base!r}', '.py').model.type)\n"
    )
    completed = python('-c', code, environment=dict(PYTHONPATH=str(tmp_path)), cwd=tmp_path)
    assert completed.stdout.split() == [f'{tmp_path}/mmbss/__init__.py', 'mmbss.Distiller']
    (scripts,) = tmp_path.glob('*.dist-info/entry_points.txt')
    assert 'mmbss = mmbss.__main__:main' in scripts.read_text()
    own = dict(environment=dict(PYTHONPATH=str(tmp_path)), cwd=tmp_path)
    assert python('-m', 'mmbss', 'train', '--help', **own).stdout.startswith('usage: ')


def test_git_holds_no_links_which_a_checkout_on_windows_breaks(root):
    listed = subprocess.run(
        ['git', 'ls-files', '--stage'], cwd=root, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert [line for line in listed if line.startswith('120000')] == []


@pytest.mark.parametrize('allowed', [True, False])
def test_an_editable_install_links_to_configs_and_tools_or_copies_them(source, tmp_path, allowed):
    refuse = 'def refuse(*args, **kwargs): raise OSError\nimport os; os.symlink = refuse\n'
    build(source, 'editable', tmp_path, before='' if allowed else refuse)
    carried = source / 'mmbss' / '.mim'
    for name in ('configs', 'tools', 'zoo'):
        assert (carried / name).is_symlink() == allowed
        for path in (source / name).glob('**/*.py'):
            assert (carried / path.relative_to(source)).read_text() == path.read_text()


def test_mim_lists_every_config(wheel, root, tmp_path, monkeypatch):
    search = pytest.importorskip('mim.commands.search')
    for name in ('model-index.yml', 'zoo/metafile.yml'):
        zipfile.ZipFile(wheel).extract(f'mmbss/.mim/{name}', tmp_path)
    # it does not see the editable install that is tested here
    monkeypatch.setattr(search, 'get_installed_path', lambda name: str(tmp_path / name))
    found = search.get_model_info('mmbss', to_dict=True)
    configs = {str(path.relative_to(root)) for path in root.glob('configs/[!_]*/*.py')}
    configs |= {str(path.relative_to(root)) for path in root.glob('zoo/*/student.py')}
    assert {model['config'] for model in found.values()} == configs
    resnet8 = found['resnet8_1xb256-80e_cifar10']
    assert (resnet8['batch_size'], resnet8['epochs']) == (256, 80)
    assert (resnet8['training_data'], resnet8['model']) == ('cifar10', 'baseline')


def test_a_source_distribution_can_be_built_and_installed_from(source, tmp_path, wheel):
    sdist = build(source, 'sdist', tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter='data')
    again = build(tmp_path / sdist.name.removesuffix('.tar.gz'), 'wheel', tmp_path)
    names = set(zipfile.ZipFile(again).namelist())
    assert names == set(zipfile.ZipFile(wheel).namelist())


def read_pins(path):
    """Version and hashes of each package of a file of pins."""
    pins = {}
    lines = path.read_text().replace('\\\n', ' ').splitlines()
    for line in (line for line in lines if line.strip() and not line.startswith('#')):
        requirement, *hashes = line.split(' --hash=')
        pin = Requirement(requirement.strip())
        (specifier,) = pin.specifier
        assert specifier.operator == '=='
        assert canonicalize_name(pin.name) not in pins
        pins[canonicalize_name(pin.name)] = specifier.version, [each.strip() for each in hashes]
    return pins


def test_constraints_pin_one_version_of_everything_that_is_required(root):
    pins = read_pins(root / 'constraints.txt')
    ours = ('runtime', 'openmmlab', 'digits', 'report', 'tensorboard', 'attacks', 'dev')
    for name in (*ours, 'timm', 'huggingface', 'onnx', 'onedl'):
        if name == 'onedl':
            pins |= read_pins(root / 'requirements' / 'onedl-pins.txt')
        for line in (root / 'requirements' / f'{name}.txt').read_text().split():
            required = Requirement(line)
            version, _ = pins[canonicalize_name(required.name)]
            assert required.specifier.contains(version), f'{required} is pinned to {version}'


def test_the_locks_hold_what_constraints_pin_and_a_hash_of_each(root):
    folder = root / 'requirements'
    pins = {name: version for name, (version, _) in read_pins(root / 'constraints.txt').items()}
    names = ('ci', 'onedl-ci', 'torch-cpu', 'torch')
    locks = {name: read_pins(folder / f'{name}.txt') for name in names}
    locked = {name: version for name, (version, _) in locks['ci'].items()}
    assert locked | {'torch': pins['torch']} == pins
    forked = {name: version for name, (version, _) in locks['onedl-ci'].items()}
    own = {name: version for name, (version, _) in read_pins(folder / 'onedl-pins.txt').items()}
    official = {'mmcv-lite', 'mmengine', 'mmpretrain', 'openmim', 'openxlab', 'opendatalab'}
    kept = {name: version for name, version in locked.items() if name not in official}
    assert forked == kept | own
    assert locks['torch-cpu'].keys() == {'torch'}
    assert locks['torch-cpu']['torch'][0] == f'{pins["torch"]}+cpu'
    for name, (version, _) in locks['torch'].items():
        assert pins.get(name, version) == version
    for lock in locks.values():
        for _, hashes in lock.values():
            assert hashes
            assert all(re.fullmatch(r'sha256:[0-9a-f]{64}', each) for each in hashes)
    for name in locks:
        assert '://' not in (folder / f'{name}.txt').read_text()


def test_the_requirements_at_the_top_are_those_of_the_package(root):
    lines = (root / 'requirements.txt').read_text().splitlines()
    files = {line.split()[1] for line in lines if line.startswith('-r')}
    # the least that trains: extras bring the rest
    assert files == {'requirements/runtime.txt', 'requirements/openmmlab.txt'}


def test_the_package_that_is_tested_is_the_one_in_this_repository(root):
    assert metadata.version('mmbss') in (root / 'mmbss' / 'version.py').read_text()


def test_every_page_names_the_same_version(root):
    assert f'\nversion: {__version__}\n' in (root / 'CITATION.cff').read_text()
    released = re.findall(r'^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$', read(root, 'CHANGELOG.md'), re.M)
    assert released[0] == __version__
    assert released == sorted(set(released), key=Version, reverse=True)


def test_the_licences_listed_are_those_of_the_pins(root):
    rows = [
        line.split('|')[1:4] for line in read(root, 'requirements/LICENSES.md').splitlines()[2:]
    ]
    listed = {canonicalize_name(name.strip()): version.strip() for name, version, _ in rows}
    pins = {name: version for name, (version, _) in read_pins(root / 'constraints.txt').items()}
    # the CPU build of torch says so
    assert {name: version.partition('+')[0] for name, version in listed.items()} == pins
    assert all(licence.strip() for _, _, licence in rows)


def test_workflows_and_contributors_are_told_targets_that_the_makefile_has(root):
    makefile = read(root, 'Makefile')
    targets = set(re.findall(r'^([\w-]+):', makefile, re.M))
    (phony,) = re.findall(r'^\.PHONY: (.*)$', makefile, re.M)
    assert set(phony.split()) == targets
    told = set(re.findall(r'\bmake ([a-z][\w-]*)(?=`|\s*#|$)', read(root, 'CONTRIBUTING.md'), re.M))
    for path in (root / '.github' / 'workflows').glob('*.yml'):
        for job in yaml.safe_load(path.read_text())['jobs'].values():
            told |= set(job.get('strategy', {}).get('matrix', {}).get('target', ()))
            runs = [step.get('run', '') for step in job['steps']]
            told |= set(re.findall(r'^make ([\w-]+)$', '\n'.join(runs), re.M))
    assert {'lint', 'test', 'test-onedl', 'docs', 'notebooks', 'wheel'} <= told
    assert told <= targets


def test_the_files_that_mutations_are_made_of_are_there(root):
    section = (root / 'pyproject.toml').read_text().partition('[tool.mutmut]')[2]
    named = re.findall(r'"((?:mmbss|tests)/[^"]+)"', section)
    assert len(named) > 20
    assert [each for each in named if not [*root.glob(each)]] == []


def test_a_wheel_holds_no_module_of_an_earlier_build(wheel):
    assert 'mmbss/gone.py' not in zipfile.ZipFile(wheel).namelist()
