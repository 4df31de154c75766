"""Tables of a report: cells as text, ready to be shown."""

import platform
import shlex
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmengine
import mmpretrain
import torch
from mmengine.registry import DefaultScope

import mmbss
from mmbss.distillers.classifiers import load_model_config
from mmbss.registry import MODELS
from mmbss.visualization.run_logs import Experiment, LoggedRun

#: Columns of the table of metrics: name in the JSON, heading, format.
METRICS = (
    ('accuracy/top1', 'accuracy (%)', '.2f'),
    ('agreement/top1', 'agreement with the teacher (%)', '.2f'),
    ('boundary_agreement/top1', 'agreement at its boundary (%)', '.2f'),
    ('boundary_similarity/mag_sim', 'MagSim', '.3f'),
    ('boundary_similarity/ang_sim', 'AngSim', '.3f'),
    ('boundary_distance/student', 'distance to own boundary', '.3f'),
    ('calibration/ece', 'calibration error (%)', '.2f'),
)
#: Where there is no commit to name.
UNKNOWN = 'no git checkout'


def spread(values: Sequence[float], form: str = '.2f') -> str:
    """Mean and, of several values, standard deviation (n - 1).

    Examples:
        >>> spread([90.0, 92.0, 91.0]), spread([90.0])
        ('91.00 ± 1.00', '90.00')
    """
    mean = f'{statistics.mean(values):{form}}'
    return f'{mean} ± {statistics.stdev(values):{form}}' if len(values) > 1 else mean


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


def metric_columns(networks: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Those columns of the table of metrics that any network has a value for."""
    known = {name for network in networks for name in network['metrics']}
    attacks = sorted(name for name in known if name.startswith('robust_accuracy/'))
    columns = [column for column in METRICS if column[0] in known]
    return columns + [
        (name, f'accuracy under {name.removeprefix("robust_accuracy/")} (%)', '.1f')
        for name in attacks
        if name != 'robust_accuracy/clean'
    ]


def metric_table(
    networks: Sequence[dict[str, Any]], groups: dict[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of metrics, with the spread over the networks of an experiment.

    Args:
        networks: The ``networks`` that :func:`mmbss.metrics.evaluate_networks` returns.
        groups: Experiment of a network, by the network's name; others stand for themselves.
    """
    columns = metric_columns(networks)
    names = dict.fromkeys(groups.get(network['name'], network['name']) for network in networks)
    rows = []
    for name in names:
        own = [
            each['metrics'] for each in networks if groups.get(each['name'], each['name']) == name
        ]
        cells = []
        for key, _, form in columns:
            values = [metrics[key] for metrics in own if key in metrics]
            cells.append(spread(values, form) if values else '')
        rows.append([name, *cells])
    return ['network', *(heading for _, heading, _ in columns)], rows


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
