"""Results of several experiments side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

#: Blue and vermilion of Okabe and Ito's palette, which the colour-blind can tell apart.
SEED_COLOUR, MEAN_COLOUR = '#0072B2', '#D55E00'


def draw_comparison(values: Mapping[str, Sequence[float]], metric: str) -> Figure:
    """Draw every seed of every experiment, with mean and standard deviation.

    Args:
        values: For each experiment, the figure of each of its seeds, in the order of the rows.
        metric: What the figures are, with its unit: the label of the axis.

    Returns:
        The figure; ``figure.savefig(path)`` writes it.

    Raises:
        ValueError: If there is no experiment.
    """
    if not values:
        raise ValueError('draw_comparison: there is no experiment to draw')
    figure = Figure(figsize=(7.5, 1.2 + 0.38 * len(values)), layout='constrained')
    axes = figure.subplots()
    for row, seeds in enumerate(values.values()):
        axes.plot(seeds, [row] * len(seeds), 'o', color=SEED_COLOUR, alpha=0.6, markersize=5)
        spread = np.std(seeds, ddof=1) if len(seeds) > 1 else 0.0
        axes.errorbar(
            np.mean(seeds),
            row,
            xerr=spread,
            fmt='|',
            color=MEAN_COLOUR,
            markersize=13,
            markeredgewidth=2.5,
            capsize=4,
        )
    axes.set_yticks(range(len(values)), labels=list(values))
    axes.invert_yaxis()
    axes.set_xlabel(f'{metric}: seeds (dots), mean and standard deviation (bars)')
    axes.grid(axis='x', alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    return figure
