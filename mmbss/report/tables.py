"""Tables of a report: cells as text, ready to be shown."""

import platform
import shlex
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

import mmengine
import mmpretrain
import torch
from mmengine.registry import DefaultScope

import mmbss
from mmbss.distillers.classifiers import load_model_config
from mmbss.registry import MODELS
from mmbss.report.metric_tables import spread
from mmbss.report.run_logs import Experiment, LoggedRun

#: Where there is no commit to name.
UNKNOWN = 'no git checkout'


def count_parameters(run: LoggedRun) -> int:
    """Trainable parameters of the (student's) network of a run."""
    config = load_model_config(str(run.config_file))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return sum(weight.numel() for weight in MODELS.build(config).parameters())


def accuracy_table(experiments: Sequence[Experiment], metric: str) -> list[dict[str, str]]:
    """A row for each experiment, as ``tools/compare.py`` prints it.

    Raises:
        ValueError: If a run has never logged the metric.
    """
    rows = []
    for experiment in experiments:
        values = [run.last_value(metric) for run in experiment.runs]
        steps = [max(run.val_series(metric)) for run in experiment.runs]
        times = [time for run in experiment.runs if (time := run.ms_per_iteration()) is not None]
        seconds = [run.info['seconds'] for run in experiment.runs if 'seconds' in run.info]
        each = zip(experiment.runs, values, strict=True)
        rows.append(
            dict(
                name=experiment.name,
                parameters=f'{count_parameters(experiment.runs[0]):,}',
                value=spread(values),
                seeds=', '.join(f'{_seed(run)}: {value:.2f}' for run, value in each),
                last=' to '.join(f'{step:g}' for step in sorted({min(steps), max(steps)})),
                time=f'{statistics.median(times):.1f}' if times else '',
                seconds=f'{statistics.mean(seconds):.0f}' if seconds else '',
            )
        )
    return rows


def versions() -> dict[str, str]:
    """Versions of what the report is made with."""
    return dict(
        python=platform.python_version(),
        torch=torch.__version__,
        mmengine=mmengine.__version__,
        mmpretrain=mmpretrain.__version__,
        mmbss=mmbss.__version__,
        commit=git_commit(Path(mmbss.__file__).parent),
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


def repeat_commands(
    work_dir: Path, students: Sequence[Experiment], teacher: Sequence[Experiment]
) -> list[str]:
    """Command lines that repeat the runs, from the complete configs they were trained with.

    Args:
        work_dir: Work dir of the runs.
        students: Experiments to repeat.
        teacher: The experiment that trained their teacher, if it is part of the comparison.
    """
    runs = [run for experiment in students for run in experiment.runs]
    again = str(work_dir).rstrip('/') + '-again'
    if len(runs) == 1 and not teacher:
        command = ['python', 'tools/train.py', str(runs[0].config_file)]
    else:
        command = ['python', 'tools/compare.py']
        command += [str(experiment.runs[0].config_file) for experiment in students]
        for experiment in teacher:
            command += ['--teacher', experiment.runs[0].info.get('config', '')]
        seeds = dict.fromkeys(str(run.seed) for run in runs if run.seed is not None)
        command += ['--seeds', *seeds] if seeds else []
    return [shlex.join([*command, '--work-dir', again])]


def _seed(run: LoggedRun) -> str:
    return 'unset' if run.seed is None else str(run.seed)
