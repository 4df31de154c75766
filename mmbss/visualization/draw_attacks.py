"""What different attacks make of one sample, side by side."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor

from mmbss.attacks import AttackResult
from mmbss.attacks.functional import Bounds
from mmbss.visualization.draw_samples import perturbation_image, show_image, to_images
from mmbss.visualization.style import STYLE, new_figure

#: Samples in a line.
COLUMNS = 4


@rc_context(STYLE)
def draw_attacks(
    sample: Tensor, results: Mapping[str, AttackResult], bounds: Bounds, classes: Sequence[str]
) -> Figure:
    """The base sample and what each attack has found, with the scaled perturbation below.

    Below each sample stands the class that the attacked network decides on, in brackets where the
    attack rejects it; below each perturbation the factor that it is shown at and its L2 length, in
    images with values in [0, 1].

    Args:
        sample: (1, C, H, W) in the units of ``bounds``.
        results: Of one sample each, by the name of the attack.
        bounds: Pixels 0 and 255.
        classes: Names of the classes.
    """
    lines = math.ceil((len(results) + 1) / COLUMNS)
    figure, axes = new_figure(7.0, 3.4 * lines, rows=2 * lines, columns=COLUMNS)
    for axis in axes:
        axis.set_axis_off()
    (image,) = to_images(sample, bounds)
    for place, (name, result) in enumerate([('base sample', None), *results.items()]):
        line, column = divmod(place, COLUMNS)
        above, below = (axes[(2 * line + row) * COLUMNS + column] for row in (0, 1))
        above.set_axis_on()
        above.set_title(name)
        if result is None:
            any_result = next(iter(results.values()))
            show_image(above, image, classes[int(any_result.base)])
            continue
        (found,) = to_images(result.samples, bounds)
        decided = classes[int(result.logits.argmax())]
        show_image(above, found, decided if result.success else f'({decided})')
        change, factor = perturbation_image(image, found)
        length = float(np.linalg.norm(found - image))
        below.set_axis_on()
        show_image(below, change, f'x {factor:.2g}, length {length:.2f}')
    return figure
