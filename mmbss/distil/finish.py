"""Choose a student, look at the test images, and hand over: report, export, summary."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmbss.distil.answers import ask
from mmbss.distil.choose import LABELS, RULE, Choice, choose, difference_p, interval
from mmbss.distil.configs import Paths
from mmbss.distil.running import Outcome
from mmbss.engine.errors import ConfigError, lines_of
from mmbss.engine.files.atomic import whole_file
from mmbss.engine.fingerprint import file_digest
from mmbss.engine.work_dir import put_aside
from mmbss.export import export_student
from mmbss.export.formats import FORMATS, STUDENT
from mmbss.report.options import ReportOptions
from mmbss.report.report import build_report
from mmbss.studies.classifiers import Network
from mmbss.studies.comparison import as_network
from mmbss.studies.run_logs import read_json, read_run
from mmbss.studies.runs import Run

#: Of a whole report: test images that are attacked and drawn, those that are asked about, and
#: points on a side of a decision plane.
ATTACKED, TESTED, RESOLUTION = 32, 1000, 60
CHOICE = 'choice.json'


def networks_of(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Network]:
    """Config and last checkpoint of the runs with these names."""
    return {run.arm: as_network(read_run(run.folder)) for run in runs if run.arm in names}


def choose_student(runs: Sequence[Run], outcome: Outcome, teacher: dict[str, Any]) -> Choice:
    """Ask all finished students and the teacher about the validation images, and choose.

    Raises:
        ConfigError: If the labels alone have failed, with which everything is compared.
    """
    if LABELS not in outcome.finished:
        raise ConfigError(*(f'{name}: {reason}' for name, reason in outcome.failed.items()))
    config = read_run(runs[0].folder).config
    return choose(*ask(config, 'val', networks_of(runs, outcome.finished), teacher))


def look_at_tests(
    paths: Paths, choice: Choice, runs: Sequence[Run], teacher: dict[str, Any]
) -> dict[str, Any]:
    """Figures of the chosen student, of the labels alone and of the teacher on the test images.

    They are asked once: what they have said is kept, and read where the choice and the weights are
    the same again.

    Returns:
        ``looks``: how often the images were looked at; ``images``; ``figures``: by network
        ``accuracy``, ``low``, ``high`` (95 % interval) and ``agreement``; ``p`` of equal
        accuracies of the chosen student and the labels alone.
    """
    path = paths.folder / CHOICE
    before = read_json(path) or {}
    found = before.get('test')
    networks = networks_of(runs, [choice.name, LABELS])
    asked = {name: file_digest(own['checkpoint']) for name, own in sorted(networks.items())}
    if found is None or before.get('chosen') != choice.name or before.get('asked') != asked:
        found = ask_about_tests(choice, runs, teacher)
        found['looks'] = before.get('test', {}).get('looks', 0) + 1
    stored = dict(
        chosen=choice.name,
        asked=asked,
        level=choice.level,
        rule=RULE,
        validation={
            name: dict(accuracy=own.accuracy, agreement=own.agreement(choice.teacher))
            for name, own in choice.students.items()
        },
        test=found,
    )
    with whole_file(path) as part:
        part.write_text(json.dumps(stored, indent=1) + '\n')
    return found


def ask_about_tests(choice: Choice, runs: Sequence[Run], teacher: dict[str, Any]) -> dict[str, Any]:
    """The figures of :func:`look_at_tests`, but for ``looks``."""
    names = list(dict.fromkeys([choice.name, LABELS]))
    config = read_run(runs[0].folder).config
    students, guide = ask(config, 'test', networks_of(runs, names), teacher)
    figures = {}
    for name, own in {**students, 'teacher': guide}.items():
        low, high = interval(int(own.right.sum()), len(own.labels))
        figures[name] = dict(
            accuracy=own.accuracy, low=low, high=high, agreement=own.agreement(guide)
        )
    p = difference_p(students[choice.name], students[LABELS])
    return dict(images=len(guide.labels), figures=figures, p=p)


def write_report(paths: Paths, choice: Choice, command: str, share: float) -> Path:
    """Write ``report.html``: curves of all runs; networks and metrics of the two that count.

    Args:
        paths: Where everything lies.
        choice: The choice.
        command: The command line.
        share: Of the images and points of a whole report that networks are asked about, in (0, 1].
    """
    names = list(dict.fromkeys([LABELS, choice.name]))
    attacked = math.ceil(share * ATTACKED)
    asked = ', '.join(['teacher', *names])
    print(f'report: metrics of {asked}, {attacked} test images attacked ...', flush=True)
    options = ReportOptions(
        title=paths.folder.resolve().name,
        num_samples=attacked,
        num_tested=math.ceil(share * TESTED),
        num_planes=1,
        resolution=math.ceil(math.sqrt(share) * RESOLUTION),
        students=names,
    )
    out = paths.folder / 'report.html'
    page = build_report(paths.runs, options, command).page
    with whole_file(out) as part:
        part.write_text(page, encoding='utf-8')
    return out


def export(
    paths: Paths, choice: Choice, runs: Sequence[Run], command: str, notes: Mapping[str, str]
) -> dict[str, Any]:
    """Write the chosen student into its folder, unless it lies there; others are put aside.

    Returns:
        What is known of it, see :func:`~mmbss.export.export_student`.

    Raises:
        ConfigError: If it cannot be written.
    """
    network = networks_of(runs, [choice.name])[choice.name]
    figures = read_json(paths.student / 'export.json')
    digest = file_digest(network['checkpoint'])
    if figures is None or figures.get('checkpoint_digest') != digest:
        print('export ...', flush=True)
        missing = [name for name in ('onnx', 'onnxruntime', 'onnxscript') if not find_spec(name)]
        put_aside(paths.student)  # also what somebody, or a killed process, has left of one
        figures = export_student(
            network['config'],
            network['checkpoint'],
            paths.student,
            formats=[name for name in FORMATS if not (missing and name == 'onnx')],
            command=command,
            notes=notes,
        )
    if f'{STUDENT}.onnx' not in figures['files'] and 'onnx' not in figures['problems']:
        figures['problems']['onnx'] = "it needs pip install 'mmbss[onnx]', and mmbss export"
    return figures


def attempt(what: str, function: Callable[[], Any]) -> Any:
    """Do what comes after the choice; a mistake in it is told and does not lose the rest."""
    try:
        return function()
    except ConfigError as error:
        print(f'{what} could not be written: {lines_of(error)[0]}', flush=True)
        return None
