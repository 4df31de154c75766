"""What pyproject.toml cannot say: configs, tools and zoo travel in the package, in mmbss/.mim."""

import json
import os
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
#: What mim, mmengine (``_base_ = 'mmbss::...'``) and the command ``mmbss`` look for in mmbss/.mim.
CARRIED = ('configs', 'tools', 'zoo')
#: resnet8_1xb256-80e_cifar10: batch size, epochs and data in the name of a config
NAME = re.compile(r'.*_\dxb(?P<batch>\d+)-(?P<epochs>\d+)e_(?P<data>.+)')


class BuildWithConfigs(build_py):
    """Carry them along: as copies in a wheel, as links in an editable install.

    Git holds no links, which a checkout on Windows turns into files of one line.
    """

    def run(self) -> None:
        """Build, then copy or link."""
        if not self.editable_mode:  # modules of an earlier build may be gone
            shutil.rmtree(self.build_lib, ignore_errors=True)
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


setup(cmdclass=dict(build_py=BuildWithConfigs))
