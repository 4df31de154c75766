"""A report of a run or a comparison: one HTML page that needs nothing but itself."""

import base64
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from mmbss.metrics import evaluate_networks
from mmbss.metrics.evaluation import Network
from mmbss.visualization.networks import load_networks, loader_of_tests
from mmbss.visualization.picture import Picture
from mmbss.visualization.report_pictures import (
    Styles,
    accuracy_picture,
    curve_pictures,
    network_pictures,
)
from mmbss.visualization.report_tables import (
    accuracy_table,
    metric_table,
    repeat_commands,
    versions,
)
from mmbss.visualization.run_logs import Experiment, LoggedRun, read_experiments
from mmbss.visualization.style import GREY, line_style, short_names, to_svg

#: What of a distiller's ``teacher`` says which network it is, and not how fast it runs.
TEACHER_KEYS = ('config', 'checkpoint', 'reverse_channels')


@dataclass(frozen=True)
class ReportOptions:
    """What a report contains.

    Attributes:
        metric: Validation metric of the table.
        logs_only: Leave out what needs the networks and the data.
        num_samples: Test samples that are attacked, for pictures and metrics.
        num_tested: Test samples that the other metrics are measured on, at most.
        num_planes: Decision planes.
        num_pictured: Boundary samples that are drawn.
        resolution: Grid points on a side of a decision plane.
        metrics: What ``tools/evaluate_boundary.py`` has written; None computes it.
    """

    metric: str = 'accuracy/top1'
    logs_only: bool = False
    num_samples: int = 200
    num_tested: int = 2000
    num_planes: int = 2
    num_pictured: int = 4
    resolution: int = 60
    metrics: dict[str, Any] | None = None


@dataclass(frozen=True)
class Report:
    """A report that is worked out and can be rendered.

    Attributes:
        title: Name of the run or comparison.
        rows: Table of accuracies; see :func:`accuracy_table`.
        pictures: Pictures by section: ``accuracy``, ``curves``, ``planes``, ``samples``,
            ``margins``; sections may be missing.
        metrics: Headings and rows of the table of metrics, None without.
        metric_settings: With which settings they were measured.
        configs: Complete config of each experiment.
        commands: Command lines that repeat the runs, and the report.
        legend: Name, colour and dashes of each experiment.
        metric: Name of the validation metric.
        seeds: How many runs an experiment has, at most.
        waiting: Runs that are left out, since they have not been validated yet.
    """

    title: str
    rows: list[dict[str, str]]
    pictures: dict[str, list[Picture]]
    metrics: tuple[list[str], list[list[str]]] | None
    metric_settings: dict[str, Any]
    configs: dict[str, str]
    commands: list[str]
    legend: Styles
    metric: str
    seeds: int
    waiting: list[str]

    def render(self) -> str:
        """The page."""
        folder = jinja2.FileSystemLoader(Path(__file__).parent / 'templates')
        environment = jinja2.Environment(
            loader=folder,
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters['data_uri'] = data_uri
        now = datetime.datetime.now(datetime.UTC)
        return environment.get_template('report.html').render(
            report=self, versions=versions(), date=f'{now:%Y-%m-%d %H:%M} UTC'
        )


def data_uri(picture: Picture) -> str:
    """A picture inside its address; light or dark, as the reader's settings are."""
    return f'data:image/svg+xml;base64,{base64.b64encode(to_svg(picture.figure).encode()).decode()}'


def build_report(work_dir: Path, options: ReportOptions, command: str) -> Report:
    """Work out the report of a run or a comparison.

    Args:
        work_dir: Work dir of ``tools/train.py`` or ``tools/compare.py``.
        options: What it contains.
        command: How the report was called for.

    Raises:
        FileNotFoundError: If there is no such folder or no run in it, or if a checkpoint, a
            config of the teacher or the data is missing.
        ValueError: If the runs have not logged the metric, or the networks do not fit together.
    """
    experiments, waiting = validated(read_experiments(work_dir))
    full_names = [experiment.name for experiment in experiments]
    experiments = [
        replace(experiment, name=name)
        for experiment, name in zip(experiments, short_names(full_names), strict=True)
    ]
    teacher = find_teacher(experiments)
    students = [each for each in experiments if not (teacher and is_of(each, teacher))]
    styles = {each.name: (GREY, '-') for each in experiments}
    styles |= {each.name: line_style(index) for index, each in enumerate(students)}
    rows = accuracy_table(experiments, options.metric)
    pictures = dict(
        accuracy=[accuracy_picture(experiments, options.metric, styles)],
        curves=curve_pictures(experiments, options.metric, styles),
    )
    metrics, settings = None, {}
    if teacher and not options.logs_only:
        try:
            drawn, measured, groups = ask_networks(teacher, students, styles, options)
        except (FileNotFoundError, ValueError) as error:
            hint = '; --logs-only leaves out what needs networks and data'
            raise type(error)(f'{error}{hint}') from error
        pictures |= drawn
        metrics = metric_table(measured['networks'], groups)
        settings = measured['settings']
    of_teacher = [each for each in experiments if each not in students]
    return Report(
        title=work_dir.resolve().name,
        rows=rows,
        pictures=pictures,
        metrics=metrics,
        metric_settings=settings,
        configs={
            name: each.runs[0].config.pretty_text
            for name, each in zip(full_names, experiments, strict=True)
        },
        commands=[*repeat_commands(work_dir, students, of_teacher), command],
        legend=styles,
        metric=options.metric,
        seeds=max(len(each.runs) for each in experiments),
        waiting=waiting,
    )


def validated(experiments: Sequence[Experiment]) -> tuple[list[Experiment], list[str]]:
    """Experiments with those of their runs that have been validated, and names of the others.

    Raises:
        ValueError: If there is none.
    """
    waiting = [str(run.folder) for each in experiments for run in each.runs if not run.val_records]
    done = [
        replace(each, runs=[run for run in each.runs if run.val_records]) for each in experiments
    ]
    done = [each for each in done if each.runs]
    if not done:
        raise ValueError(f'no run has been validated yet: {", ".join(waiting)}')
    return done, waiting


def find_teacher(experiments: Sequence[Experiment]) -> Network | None:
    """Config and checkpoint of the teacher that all distilled students share; None without any.

    Raises:
        ValueError: If there are several.
    """
    teachers: list[Network] = []
    for experiment in experiments:
        if experiment.is_distillation:
            own = experiment.runs[0].config.model.teacher.to_dict()
            network = {key: own[key] for key in TEACHER_KEYS if key in own}
            if network not in teachers:
                teachers.append(network)
    if len(teachers) > 1:
        listed = ', '.join(str(each['checkpoint']) for each in teachers)
        raise ValueError(
            f'the experiments have different teachers ({listed}), so their boundaries cannot be '
            'compared: report them one by one, or with --logs-only'
        )
    return teachers[0] if teachers else None


def is_of(experiment: Experiment, teacher: Network) -> bool:
    """Whether the teacher's checkpoint comes from a run of the experiment."""
    folder = Path(teacher['checkpoint']).parent.resolve()
    return any(run.folder.resolve() == folder for run in experiment.runs)


def ask_networks(
    teacher: Network,
    students: Sequence[Experiment],
    styles: Styles,
    options: ReportOptions,
) -> tuple[dict[str, list[Picture]], dict[str, Any], dict[str, str]]:
    """Pictures of the networks, metrics of all runs, and the experiment of each measured name."""
    first = {each.name: as_network(each.runs[0]) for each in students}
    config = students[0].runs[0].config
    networks = load_networks(teacher, first, config, options.num_samples)
    pictures = network_pictures(
        networks, styles, options.num_planes, options.num_pictured, options.resolution
    )
    if options.metrics is not None:
        return pictures, options.metrics, {}
    runs = {
        f'{each.name}, {run.folder.name}': (each, run) for each in students for run in each.runs
    }
    measured = evaluate_networks(
        teacher,
        {name: as_network(run) for name, (_, run) in runs.items()},
        loader_of_tests(config, options.num_tested),
        num_samples=options.num_samples,
    )
    return pictures, measured, {name: each.name for name, (each, _) in runs.items()}


def as_network(run: LoggedRun) -> Network:
    """Config and checkpoint of a run's student."""
    return dict(config=str(run.config_file), checkpoint=str(run.checkpoint()))
