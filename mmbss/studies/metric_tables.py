"""Tables of what :func:`~mmbss.report.evaluation.evaluate_networks` has measured."""

from collections.abc import Sequence
from typing import Any

from mmbss.metrics.corruptions import CONSTANTS
from mmbss.studies.text import Table, markdown, spread

#: Lines of the table of metrics: name in the JSON, heading, format.
METRIC_LINES = (
    ('accuracy/top1', 'accuracy (%)', '.2f'),
    ('agreement/top1', 'agreement with the teacher (%)', '.2f'),
    ('agreement/kl', 'KL to the teacher (nats)', '.3f'),
    ('agreement/top1_teacher_wrong', 'agreement where the teacher is wrong (%)', '.2f'),
    ('agreement/kl_teacher_wrong', 'KL where the teacher is wrong (nats)', '.3f'),
    ('calibration/ece', 'calibration error (%)', '.2f'),
    ('calibration/ece_scaled', 'calibration error, scaled (%)', '.2f'),
    ('calibration/temperature', 'temperature of the scaling', '.2f'),
    ('boundary_agreement/top1', "agreement at the teacher's boundary (%)", '.2f'),
    ('boundary_agreement/kl', "KL at the teacher's boundary (nats)", '.3f'),
    ('boundary_similarity/mag_sim', 'MagSim', '.3f'),
    ('boundary_similarity/ang_sim', 'AngSim', '.3f'),
    ('boundary_similarity/pairs', 'pairs compared', '.0f'),
    ('boundary_similarity/pairs_one_sided', 'pairs dropped, one-sided', '.0f'),
    ('boundary_distance/student', 'distance to its own boundary', '.4f'),
    ('boundary_distance/teacher', "the teacher's to its own, same samples", '.4f'),
    ('boundary_visibility/seen', "seen of the way to the teacher's boundary (%)", '.1f'),
    ('boundary_visibility/student_clean', 'margin on clean samples', '.2f'),
    ('boundary_visibility/student_boundary', "margin at the teacher's boundary", '.2f'),
    ('transition/error', 'transition error', '.3f'),
    ('corruption_accuracy/mean', 'accuracy under corruptions (%)', '.1f'),
    *((f'corruption_accuracy/{kind}', f'accuracy under {kind} (%)', '.1f') for kind in CONSTANTS),
)
#: Metrics of robust accuracy: how their names begin, and where they are measured.
ROBUSTNESS = {'robust_accuracy/': 'attacked samples', 'autoattack/': "AutoAttack's samples"}
#: How the names of mmpretrain's metrics in percent begin.
IN_PERCENT = (
    'accuracy/',
    *(f'single-label/{name}' for name in ('precision', 'recall', 'f1-score')),
)
#: Parts of the similarity that are also given for each class.
OF_CLASS = {
    'MagSim': 'boundary_similarity/mag_sim_of_',
    'AngSim': 'boundary_similarity/ang_sim_of_',
}


def with_unit(metric: str) -> str:
    """The name of a metric with its unit, where that is known.

    Examples:
        >>> with_unit('accuracy/top1'), with_unit('agreement/kl'), with_unit('mine/score')
        ('accuracy/top1 (%)', 'agreement/kl (nats)', 'mine/score')
    """
    heading = next((heading for name, heading, _ in METRIC_LINES if name == metric), '')
    if metric.startswith((*IN_PERCENT, *ROBUSTNESS)) or heading.endswith('(%)'):
        return f'{metric} (%)'
    return f'{metric} (nats)' if heading.endswith('(nats)') else metric


def metric_table(networks: Sequence[dict[str, Any]]) -> Table:
    """A line for each metric that any network has a value for, a column for each experiment.

    Cells are the mean and the spread over the networks of an experiment.
    """
    known = list(dict.fromkeys(name for network in networks for name in network['metrics']))
    lines = [line for line in METRIC_LINES if line[0] in known]
    for prefix, samples in ROBUSTNESS.items():
        for name in known:
            if name.startswith(prefix):
                attack = name.removeprefix(prefix)
                under = f'under {name.removeprefix("robust_accuracy/").replace("/", ", ")}'
                heading = f'accuracy {f"on {samples}" if attack == "clean" else under} (%)'
                lines.append((name, heading, '.1f'))
    return _table('metric', lines, networks)


def class_tables(networks: Sequence[dict[str, Any]]) -> dict[str, Table]:
    """MagSim and AngSim by class, of all but the teacher: a table each, if they are measured."""
    students = [network for network in networks if network['name'] != 'teacher']
    known = list(dict.fromkeys(name for network in students for name in network['metrics']))
    tables = {}
    for title, prefix in OF_CLASS.items():
        lines = [
            (name, name.removeprefix(prefix), '.3f') for name in known if name.startswith(prefix)
        ]
        if lines:
            tables[title] = _table('class', lines, students)
    return tables


def notes(networks: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence on all networks whose boundary could not be compared with the teacher's."""
    tried = {
        network['name']: network['metrics']['boundary_similarity/pairs_tried']
        for network in networks
        if network['metrics'].get('boundary_similarity/pairs') == 0
    }
    if not tried:
        return []
    listed = ', '.join(f'{name} (of {count:.0f})' for name, count in tried.items())
    return [
        'MagSim and AngSim are missing where none of the samples that student and teacher '
        f'classify correctly was moved onto the boundary of both: {listed}.'
    ]


def markdown_table(result: dict[str, Any]) -> str:
    """Table in Markdown of what ``evaluate_networks`` returns, with its notes."""
    table = markdown(*metric_table(result['networks']))
    return table + ''.join(f'\n{note}\n' for note in notes(result['networks']))


def _table(
    corner: str, lines: Sequence[tuple[str, str, str]], networks: Sequence[dict[str, Any]]
) -> Table:
    groups: dict[str, list[dict[str, float]]] = {}
    for network in networks:
        name = network.get('experiment', network['name'])
        groups.setdefault(name, []).append(network['metrics'])
    rows = []
    for key, heading, form in lines:
        values = [[metrics[key] for metrics in own if key in metrics] for own in groups.values()]
        rows.append([heading, *(spread(own, form) if own else '' for own in values)])
    return [corner, *groups], rows
