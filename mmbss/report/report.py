"""A report of a run or a comparison: one HTML page that needs nothing but itself."""

import base64
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from mmbss.engine.errors import ConfigError, refuse
from mmbss.engine.ranges import check_at_least
from mmbss.report.evaluation import digest_of_weights, evaluate_networks
from mmbss.report.facts import facts
from mmbss.report.networks import load_networks, loader_of_tests
from mmbss.report.options import ReportOptions
from mmbss.report.picture import Picture
from mmbss.report.pictures import Styles, accuracy_picture, curve_pictures, network_pictures
from mmbss.studies.accuracy_table import accuracy_rows, accuracy_table
from mmbss.studies.classifiers import TEACHER
from mmbss.studies.comparison import Comparison, as_network, read_comparison
from mmbss.studies.metric_tables import class_tables, metric_table, notes
from mmbss.studies.provenance import repeat_commands, versions
from mmbss.studies.run_logs import is_run
from mmbss.visualization.boundary_pairs import NoBoundaryPairsError
from mmbss.visualization.style import GREY, line_style, to_svg


@dataclass(frozen=True)
class Report:
    """A page, and the pictures in it by section: accuracy, curves, planes, samples, margins."""

    page: str
    pictures: dict[str, list[Picture]]


def build_report(work_dir: Path, options: ReportOptions, command: str) -> Report:
    """Work out the report of a run or a comparison.

    Args:
        work_dir: Work dir of ``tools/train.py`` or ``tools/compare.py``.
        options: What it contains.
        command: How the report was called for.

    Raises:
        ConfigError: If there is no such folder or no run in it, the runs have not logged the
            metric, a checkpoint, a config of the teacher or the data is missing, the networks do
            not fit together, or the resolution leaves a plane without area.
    """
    check_at_least(None, 2, resolution=options.resolution)
    comparison = read_comparison(work_dir)
    experiments, students = comparison.experiments, comparison.students
    styles = {each.name: (GREY, '-') for each in experiments}
    styles |= {each.name: line_style(index) for index, each in enumerate(students)}
    rows = accuracy_rows(experiments, options.metric)
    pictures = dict(
        accuracy=[accuracy_picture(rows, options.metric, styles)],
        curves=curve_pictures(experiments, options.metric, styles),
    )
    measured, remarks = None, list[str]()
    if comparison.teachers and not options.logs_only:
        try:
            drawn, measured, remarks = ask_networks(comparison, styles, options)
        except ConfigError as error:
            raise ConfigError(
                f'{error}; --logs-only leaves out what needs networks and data'
            ) from error
        pictures |= drawn
    name = experiments[0].name if is_run(work_dir) else work_dir.resolve().name
    of_teacher = [each for each in experiments if each not in students]
    counts = [len(each.runs) for each in experiments]
    page = render(
        title=options.title or name,
        facts=facts(comparison, measured, options.metric),
        rows=rows,
        pictures=pictures,
        measured=measured,
        configs={each.name: each.runs[0].config.pretty_text for each in experiments},
        commands=[
            *repeat_commands(work_dir, students, of_teacher, comparison.is_uneven),
            command,
        ],
        legend=styles,
        metric=options.metric,
        fewest=min(counts),
        most=max(counts),
        remarks=comparison.remarks,
        notes=remarks,
    )
    return Report(page, pictures)


def render(**content: Any) -> str:
    """The page of what ``templates/report.html`` names."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / 'templates'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters['data_uri'] = data_uri
    return environment.get_template('report.html').render(
        content,
        accuracy_table=accuracy_table,
        metric_table=metric_table,
        class_tables=class_tables,
        versions=versions(),
        date=f'{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC',
    )


def measured_elsewhere(metrics: dict[str, Any], comparison: Comparison) -> list[str]:
    """Notes on metrics that were measured before, where they are not of just these networks."""

    def place(network: Mapping[str, Any]) -> tuple[str, ...]:
        return Path(network['checkpoint']).resolve().parts[-3:]  # all may have been moved

    students = comparison.student_networks
    networks = [*students.values(), *comparison.teachers]
    own = {
        place(each): digest_of_weights(each)
        for each in networks
        if each.get('checkpoint') is not None
    }
    measured = [each for each in metrics['networks'] if each.get('checkpoint') is not None]
    strange = [
        each['name']
        for each in measured
        # a run may have been trained anew since
        if place(each) not in own or len({own[place(each)], each.get('digest')} - {None}) > 1
    ]
    places = {*map(place, measured)}
    left_out = [name for name, network in students.items() if place(network) not in places]
    found = {'Measured of other checkpoints than those of these runs': strange}
    found['Not measured'] = left_out
    return [f'{said}: {", ".join(names)}.' for said, names in found.items() if names]


def data_uri(picture: Picture) -> str:
    """A picture inside its address; light or dark, as the reader's settings are."""
    return f'data:image/svg+xml;base64,{base64.b64encode(to_svg(picture.figure).encode()).decode()}'


def ask_networks(
    comparison: Comparison, styles: Styles, options: ReportOptions
) -> tuple[dict[str, list[Picture]], dict[str, Any], list[str]]:
    """Pictures of the networks, metrics of all runs, and notes on what is missing."""
    teacher, asked = comparison.teacher, options.students
    students = [each for each in comparison.students if asked is None or each.name in asked]
    first = {each.name: as_network(each.runs[0]) for each in students}
    if TEACHER in first:
        raise ConfigError(f'a student is called {TEACHER}, as its teacher is: rename its folder')
    refuse(comparison.differing_tests)
    config = students[0].runs[0].config
    networks = load_networks(teacher, first, config, options.num_samples)
    pictures: dict[str, list[Picture]] = dict(planes=[], samples=[], margins=[])
    missing = []
    try:
        if networks.differentiable:
            pictures = network_pictures(networks, styles, options)
        else:
            missing = ['There are no boundary samples to show: the teacher gives no gradient.']
    except NoBoundaryPairsError as error:
        missing = [f'There are no boundary samples to show: {error}.']
    if options.metrics:
        missing += measured_elsewhere(options.metrics, comparison)
    measured = options.metrics or evaluate_networks(
        teacher,
        {
            name: network
            for name, network in comparison.student_networks.items()
            if asked is None or network['experiment'] in asked
        },
        loader_of_tests(config, options.num_tested),
        num_samples=options.num_samples,
    )
    return pictures, measured, missing + notes(measured['networks'])
