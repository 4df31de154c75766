"""What a report was made with, and the commands that repeat it."""

import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import mmengine
import mmpretrain
import torch

from mmbss.engine.commands import as_called
from mmbss.studies.experiments import Experiment
from mmbss.version import __version__

#: Where there is no commit to name.
UNKNOWN = 'no git checkout'


def versions() -> dict[str, str]:
    """Versions of what the report is made with."""
    return dict(
        python=platform.python_version(),
        torch=torch.__version__,
        mmengine=mmengine.__version__,
        mmpretrain=mmpretrain.__version__,
        mmbss=__version__,
        commit=git_commit(Path(__file__).parents[1]),
    )


def git_commit(folder: Path) -> str:
    """Short hash of the checkout that a folder lies in, with a note if files differ from it."""
    git = shutil.which('git')
    if git is None:
        return UNKNOWN

    def ask(*question: str) -> str | None:
        done = subprocess.run(  # noqa: S603 (fixed arguments)
            [git, '-C', str(folder), *question], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask('rev-parse', '--short', 'HEAD')
    if commit is None or ask('ls-files', '__init__.py') != '__init__.py':
        return UNKNOWN  # an environment inside another project's checkout
    changed = ask('status', '--porcelain', '--untracked-files=no', '--', '.')
    return f'{commit} with local changes' if changed else commit


def device_name() -> str:
    """What a training in a process of its own would run on: the name of the GPU, or CPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'


def repeat_commands(
    work_dir: Path,
    students: Sequence[Experiment],
    teacher: Sequence[Experiment],
    one_by_one: bool = False,
) -> list[str]:
    """Command lines that repeat the runs, from the complete configs they were trained with.

    What belongs together is one text.

    Args:
        work_dir: Work dir of the runs.
        students: Experiments to repeat.
        teacher: The experiment that trained their teacher, if it is part of the comparison.
        one_by_one: Name each run with its own config, as where seeds steer other settings, too.
    """
    runs = [run for experiment in students for run in experiment.runs]
    again = str(work_dir).rstrip('/') + '-again'
    if one_by_one:
        flags = [
            (
                str(run.config_file),
                '--work-dir',
                f'{again}/{run.folder.parent.name}/{run.folder.name}',
            )
            for run in runs
        ]
        commands = [shlex.join(['python', 'tools/train.py', *each]) for each in flags]
        return ['\n'.join(map(as_called, commands))]
    if len(runs) == 1 and not teacher:
        command = ['python', 'tools/train.py', str(runs[0].config_file)]
    else:
        command = ['python', 'tools/compare.py']
        command += [str(experiment.runs[0].config_file) for experiment in students]
        for experiment in teacher:
            command += ['--teacher', experiment.runs[0].info.get('config', '')]
        seeds = dict.fromkeys(str(run.seed) for run in runs if run.seed is not None)
        command += ['--seeds', *seeds] if seeds else []
    return [as_called(shlex.join([*command, '--work-dir', again]))]
