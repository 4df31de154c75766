"""Packaging of mmbss; the configs and tools travel inside the package, in mmbss/.mim."""

import json
import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
#: What mim, mmengine (``_base_ = 'mmbss::...'``) and the command ``mmbss`` look for in mmbss/.mim.
CARRIED = ('configs', 'tools', 'zoo')
#: resnet8_1xb256-80e_cifar10: batch size, epochs and data in the name of a config
NAME = re.compile(r'.*_\dxb(?P<batch>\d+)-(?P<epochs>\d+)e_(?P<data>.+)')
VERSION = (HERE / 'mmbss' / 'version.py').read_text().split("__version__ = '")[1].split("'")[0]


def requirements(name: str) -> list[str]:
    """Lines of requirements/<name>.txt."""
    return (HERE / 'requirements' / f'{name}.txt').read_text().split()


class BuildWithConfigs(build_py):
    """Carry them along: as copies in a wheel, as links in an editable install.

    Git holds no links, which a checkout on Windows turns into files of one line.
    """

    def run(self) -> None:
        """Build, then copy or link."""
        super().run()
        target = HERE / 'mmbss' if self.editable_mode else Path(self.build_lib, 'mmbss')
        shutil.rmtree(target / '.mim', ignore_errors=True)
        (target / '.mim').mkdir(parents=True)
        (target / '.mim' / 'model-index.yml').write_text(model_index(), encoding='utf-8')
        for name in CARRIED:
            if self.editable_mode:
                link(target / '.mim' / name, HERE / name)
            else:
                copy(HERE / name, target / '.mim' / name)


def model_index() -> str:
    """What ``mim search`` shows: the configs, as their names tell of them. JSON is YAML."""
    models, folders = [], set()
    for path in sorted((HERE / 'configs').glob('[!_]*/*.py')):
        folders.add(path.parent.name)
        data = {}
        if named := NAME.fullmatch(path.stem):
            data = {
                'Training Data': named['data'],
                'Batch Size': int(named['batch']),
                'Epochs': int(named['epochs']),
            }
        models.append(
            {
                'Name': path.stem,
                'In Collection': path.parent.name,
                'Config': path.relative_to(HERE).as_posix(),
                'Metadata': data,
            }
        )
    collections = [{'Name': name} for name in sorted(folders)]
    index = dict(Import=['zoo/metafile.yml'], Collections=collections, Models=models)
    return json.dumps(index, indent=1)


def link(path: Path, source: Path) -> None:
    """Link to a file or folder of the repository, or copy it where links are not allowed."""
    try:
        path.symlink_to(os.path.relpath(source, path.parent), target_is_directory=source.is_dir())
    except OSError:  # Windows without the developer mode
        copy(source, path)


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
    else:
        shutil.copy2(source, target)


setup(
    name='mmbss',
    version=VERSION,
    description="Knowledge distillation at the teacher's decision boundary, for MMPretrain",
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The mmbss authors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='knowledge distillation, decision boundary, adversarial, mmpretrain, openmmlab',
    python_requires='>=3.11',
    classifiers=[
        'Programming Language :: Python :: 3.11',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mmbss', 'mmbss.*']),
    cmdclass=dict(build_py=BuildWithConfigs),
    entry_points=dict(console_scripts=['mmbss = mmbss.__main__:main']),
    package_data={
        'mmbss': [
            'acceleration/*.cpp',
            'acceleration/*.h',
            'py.typed',
            'report/templates/*',
        ]
    },
    # No OpenMMLab package here: mmcv and mmcv-lite, the official packages and the onedl fork
    # share import names, and whichever the user has must not be joined by a second copy.
    install_requires=requirements('runtime'),
    extras_require={
        name: requirements(name)
        for name in (
            *('openmmlab', 'onedl', 'digits', 'report', 'tensorboard', 'attacks'),
            *('timm', 'huggingface', 'onnx'),
        )
    },
)
