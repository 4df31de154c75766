"""Pictures of a report, from the logs of runs and from their networks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from mmbss.attacks.functional import margin
from mmbss.report.networks import Networks
from mmbss.report.options import ReportOptions
from mmbss.report.picture import Picture
from mmbss.report.planes import CLOSE_ATTACK, plane_pictures
from mmbss.studies.accuracy_table import Row
from mmbss.studies.experiments import Experiment
from mmbss.studies.metric_tables import with_unit
from mmbss.studies.run_logs import LoggedRun, Series
from mmbss.visualization.boundary_pairs import find_boundary_pairs
from mmbss.visualization.draw_curves import draw_accuracies, draw_curves, draw_margins
from mmbss.visualization.draw_samples import draw_boundary_samples

Styles = Mapping[str, tuple[str, str]]
#: Ordinate of the attack's shares.
SHARES = 'share of base samples'
#: What a boundary term logs of its attack behind its name; it means nothing in epochs without one.
ATTACK_SHARES = dict(
    accepted='Samples the attack accepts',
    third_class='Samples that end in a third class',
    not_crossed='Samples that do not cross',
)


def accuracy_picture(rows: Sequence[Row], metric: str, styles: Styles) -> Picture:
    """The table of accuracies as a picture."""
    values = {row.name: row.values for row in rows}
    several = any(len(own) > 1 for own in values.values())
    return Picture(
        'accuracy',
        draw_accuracies(values, f'{with_unit(metric)}, last validation', styles),
        f'{metric} of each run, by experiment',
        'A dot for each seed, a line at the mean.' if several else '',
    )


@dataclass(frozen=True)
class Curve:
    """What a picture of curves shows."""

    name: str
    title: str
    y_label: str
    read: Callable[[LoggedRun], Series]


def choose_curves(logged: Iterable[str], metric: str) -> list[Curve]:
    """Curves of accuracy, losses, the attack's shares and weights, as far as they are logged.

    Args:
        logged: Names of the scalars logged in training.
        metric: Name of a validation metric.
    """
    names = sorted(set(logged), key=lambda name: (name != 'loss_cls', name))
    scalar = {name: partial(LoggedRun.train_series, name=name) for name in names}
    curves = [
        Curve(
            'accuracy', 'Validation', with_unit(metric), partial(LoggedRun.val_series, name=metric)
        )
    ]
    if 'loss' in scalar:
        curves.append(Curve('loss', 'Training loss, sum', 'loss', scalar['loss']))
    curves += [
        Curve(name, f'Training loss, {name}', 'weighted loss', scalar[name])
        for name in names
        if name.startswith('loss_')
    ]
    terms = [name.removesuffix('_samples') for name in names if name.endswith('_samples')]
    curves += [
        Curve(
            f'{term}_{share}',
            title if len(terms) == 1 else f'{title}, loss_{term}',
            SHARES,
            partial(scalar[f'{term}_{share}'], while_positive=f'{term}_samples'),
        )
        for term in terms
        for share, title in ATTACK_SHARES.items()
        if f'{term}_{share}' in scalar
    ]
    return curves + [
        Curve(name, f'Weight of loss_{name.removeprefix("weight_")}', 'weight', scalar[name])
        for name in names
        if name.startswith('weight_')
    ]


def by_iteration(read: Callable[[LoggedRun], Series], run: LoggedRun) -> Series:
    """A series of a run with iterations in the place of its epochs, if it counts in these."""
    ends = {each['epoch']: each['step'] for each in run.train_records} if run.by_epoch else {}
    return {ends.get(place, place): value for place, value in read(run).items()}


def curve_pictures(experiments: Sequence[Experiment], metric: str, styles: Styles) -> list[Picture]:
    """A small picture for each of :func:`choose_curves`, with a line for each experiment."""
    runs = [run for experiment in experiments for run in experiment.runs]
    logged = [name for run in runs for record in run.train_records for name in record]
    units = {run.by_epoch for run in runs}
    x_label = 'epoch' if units == {True} else 'iteration'
    pictures = []
    for curve in choose_curves(logged, metric):
        read = curve.read if len(units) == 1 else partial(by_iteration, curve.read)
        values = {each.name: each.collect(read) for each in experiments}
        values = {name: own for name, own in values.items() if own}
        if any(len(own) > 1 for own in values.values()):  # else there is no curve
            is_share = curve.y_label == SHARES
            figure = draw_curves(values, curve.title, x_label, curve.y_label, styles, is_share)
            alt = f'{curve.title} by {x_label}, for {", ".join(values)}'
            pictures.append(Picture(f'curve-{curve.name}', figure, alt))
    return pictures


def network_pictures(
    networks: Networks, styles: Styles, options: ReportOptions
) -> dict[str, list[Picture]]:
    """Decision planes, boundary samples and margins: lists of pictures by these names.

    Args:
        networks: Teacher and students with test samples.
        styles: Colour and dashes by student.
        options: How many planes and samples, at most, and how finely they are drawn.

    Raises:
        NoBoundaryPairsError: If no sample is classified correctly by all, or none can be moved.
    """
    answers = dict(teacher=networks.teacher, **networks.students)
    asked, students = (networks.samples, networks.labels), list(networks.students.values())
    pairs = find_boundary_pairs(networks.teacher, *asked, CLOSE_ATTACK, networks.bounds, students)
    pictured = pairs[: options.num_pictured]
    samples = Picture(
        'boundary-samples',
        draw_boundary_samples(pictured, answers, networks.bounds, networks.classes),
        'Base samples, perturbations and boundary samples, with the probabilities that teacher '
        'and students give before and after',
        "Test samples that all networks classify correctly, moved just behind the teacher's "
        'boundary. Lengths are L2 norms of images with values in [0, 1].',
    )
    with torch.no_grad():
        margins = {
            name: margin(answer(pairs.boundary_samples), pairs.base, pairs.target)
            for name, answer in answers.items()
        }
    histograms = Picture(
        'margins',
        draw_margins(margins, styles),
        'Histograms of the margins of teacher and students at the boundary samples',
        f"{len(pairs)} boundary samples of the teacher. The closer a student's margins are to 0, "
        "the closer its boundary passes to the teacher's.",
    )
    planes = plane_pictures(networks, pairs, options.num_planes, options.resolution)
    return dict(planes=planes, samples=[samples], margins=[histograms])
