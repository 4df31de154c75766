"""Curves over the training, accuracies, and distributions of margins."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mmbss.visualization.style import GREY, INK, STYLE, line_style, new_figure

#: Length of a dash, and of the gaps for those of equal lines, in widths of the line.
DASH = 3.0

#: For each experiment, the values of its runs by epoch, or by any other abscissa.
Curves = Mapping[str, Mapping[float, Sequence[float]]]


@rc_context(STYLE)
def draw_curves(
    curves: Curves,
    title: str,
    x_label: str,
    y_label: str,
    styles: Mapping[str, tuple[str, str]] | None = None,
    shares: bool = False,
) -> Figure:
    """Means over the runs of each experiment as lines, with a band from lowest to highest.

    Equal lines lie on each other as dashes of one after the other, so that all are seen.

    Args:
        curves: Values by experiment and abscissa.
        title: What is shown.
        x_label: Abscissa with its unit.
        y_label: Ordinate with its unit.
        styles: Colour and dashes by experiment, where several pictures agree and the page has
            their legend; None chooses them, and adds a legend.
        shares: Whether values are shares, so that the ordinate goes from 0 to 1.
    """
    figure, (axis,) = new_figure(4.2, 2.9)
    colours = styles or {name: line_style(index) for index, name in enumerate(curves)}
    means = {
        name: {x: statistics.mean(own) for x, own in values.items()}
        for name, values in curves.items()
    }
    for name, values in curves.items():
        colour, dashes = colours[name]
        style: Any = dashes
        equal = [other for other, own in means.items() if own == means[name]]
        if len(equal) > 1:
            style = (DASH * equal.index(name), (DASH, DASH * (len(equal) - 1)))
        x, mean = list(values), list(means[name].values())
        marker = 'o' if len(x) < 6 else None
        axis.plot(x, mean, linestyle=style, color=colour, marker=marker, markersize=4, label=name)
        lowest, highest = (list(map(pick, values.values())) for pick in (min, max))
        if lowest != highest:
            axis.fill_between(x, lowest, highest, color=colour, alpha=0.18, linewidth=0)
    axis.set(xlabel=x_label, ylabel=y_label)
    if shares:
        axis.set_ylim(-0.02, 1.02)
    axis.set_title(title, loc='left')
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=x_label in ('epoch', 'iteration')))
    axis.grid()
    if styles is None:
        figure.legend(loc='outside lower left', fontsize=8)
    return figure


@rc_context(STYLE)
def draw_accuracies(
    values: Mapping[str, Sequence[float]],
    x_label: str,
    styles: Mapping[str, tuple[str, str]] | None = None,
) -> Figure:
    """One line for each experiment: a dot for each run, a bar at the mean of several."""
    figure, (axis,) = new_figure(5.2, 0.6 + 0.48 * len(values))
    styles = styles or {name: line_style(index) for index, name in enumerate(values)}
    for place, (name, own) in enumerate(values.items()):
        colour = styles[name][0]
        axis.plot(own, [place] * len(own), 'o', color=colour, alpha=0.65, markersize=7, mew=0)
        if len(own) > 1:
            mean = statistics.mean(own)
            axis.plot([mean, mean], [place - 0.2, place + 0.2], color=INK, linewidth=2)
        # above its line, not beside it: long names leave the dots their room
        axis.annotate(name, (0.01, place - 0.38), xycoords=axis.get_yaxis_transform(), va='center')
    axis.set(xlabel=x_label, ylim=(len(values) - 0.6, -0.6), yticks=[])
    axis.spines['left'].set_visible(False)
    axis.margins(x=0.08)
    axis.grid(axis='x')
    return figure


@rc_context(STYLE)
def draw_accuracy_over_fraction(curves: Curves, y_label: str) -> Figure:
    """Accuracy against the share of the training set, on a logarithmic abscissa.

    Args:
        curves: Accuracies of the runs by experiment and fraction in (0, 1].
        y_label: The metric with its unit.
    """
    percent = {
        name: {100 * fraction: own for fraction, own in sorted(values.items())}
        for name, values in curves.items()
    }
    figure = draw_curves(
        percent, 'Accuracy by size of the training set', 'training samples used (%)', y_label
    )
    (axis,) = figure.axes
    axis.set_xscale('log')
    ticks = sorted({x for values in percent.values() for x in values})
    axis.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    axis.minorticks_off()
    return figure


@rc_context(STYLE)
def draw_margins(
    margins: Mapping[str, Tensor], styles: Mapping[str, tuple[str, str]] | None = None
) -> Figure:
    """Histograms of margins at boundary samples, a line for each network, the teacher's first.

    A network whose boundary lies where the teacher's lies has margins close to 0.

    Args:
        margins: (N,) margins ``f_b - f_k`` in units of the logits, by network.
        styles: Colour and dashes by network.
    """
    figure, axes = new_figure(5.2, 0.6 + 0.85 * len(margins), rows=len(margins))
    styles = styles or {name: line_style(index) for index, name in enumerate(margins)}
    values = {name: each.float().cpu().numpy() for name, each in margins.items()}
    everything = np.concatenate(list(values.values()))
    lowest, highest = np.quantile(np.append(everything, 0.0), (0.005, 0.995))
    room = max(0.05 * (highest - lowest), 1e-6)
    lowest, highest = min(lowest, -room), max(highest, room)
    edges = np.linspace(lowest, highest, 42)
    for axis, (name, own) in zip(axes, values.items(), strict=True):
        colour = styles[name][0] if name in styles else GREY
        weights = np.full(len(own), 100 / max(len(own), 1))
        inside = own.clip(lowest, highest)
        axis.hist(inside, edges.tolist(), weights=weights, color=colour, alpha=0.75)
        axis.axvline(0.0, color=INK, linewidth=1.0)
        axis.yaxis.set_major_locator(MaxNLocator(2))
        axis.yaxis.set_major_formatter('{x:.0f} %')
        axis.grid(axis='y')
        axis.set_title(name, loc='left', fontsize=10)
        note = f'median |margin| {np.median(np.abs(own)):.2f}'
        axis.text(1.0, 1.02, note, ha='right', va='bottom', transform=axis.transAxes, fontsize=8)
        axis.tick_params(labelbottom=axis is axes[-1])
    axes[-1].set_xlabel('margin of base over target class (logits), 0 on the boundary')
    figure.supylabel('share of boundary samples', fontsize=10, color=INK)
    return figure
