"""Decision planes: which class networks decide for on a plane, side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from mmbss.attacks.functional import class_lead
from mmbss.visualization.style import BLACK, GREY, INK, PALETTE, STYLE, new_figure, wrapped

#: Pixels that a grid point becomes; logits in between are interpolated.
ZOOM = 4
MARKERS = 'osD^v'
POINT: dict[str, Any] = dict(color='white', mec=BLACK, ms=7, mew=1.5)
UNITS = 'normalised pixels'
#: Networks side by side before a new line begins.
COLUMNS = 4
#: A region that covers less than this share of the picture gets no label.
LABELLED = 0.03


def usual_size(values: Sequence[Tensor]) -> float:
    """What nine tenths of the numbers are at most, whatever their sign."""
    # torch takes no quantile of more than 2**24
    return float(np.quantile(torch.stack([*values]).abs().numpy(), 0.9))


def lead_on_grid(logits: Tensor, base: int) -> Tensor:
    """Lead of a class over the best other one: (H, W, K) logits to (H, W), 0 on its boundary."""
    rows = logits.flatten(0, 1)
    return class_lead(rows, torch.full_like(rows[:, 0], base, dtype=torch.long)).view(
        logits.shape[:2]
    )


def agreement(logits: Tensor, others: Tensor) -> float:
    """Share of a grid on which two networks decide for the same class, both (H, W, K)."""
    return float((logits.argmax(dim=2) == others.argmax(dim=2)).float().mean())


def class_colours(logits: Sequence[Tensor], first: Sequence[int]) -> dict[int, str]:
    """One colour for each class that any network decides for, those in ``first`` first."""
    seen = torch.cat([each.argmax(dim=2).flatten() for each in logits]).bincount()
    present = [label for label in seen.argsort(descending=True).tolist() if seen[label] > 0]
    ordered = list(dict.fromkeys([*first, *present]))
    return {
        label: PALETTE[place] if place < len(PALETTE) else GREY
        for place, label in enumerate(ordered)
    }


@rc_context(STYLE)
def draw_decision_planes(
    logits: dict[str, Tensor],
    x: Tensor,
    y: Tensor,
    points: dict[str, Tensor],
    base: int,
    classes: Sequence[str],
) -> Figure:
    """Regions of several networks on the same plane, with contours of the base class's lead.

    The first network is the teacher; its boundary of the base class is repeated, dashed, in the
    others' pictures, whose titles give the share of the plane on which they agree with it.

    Args:
        logits: (H, W, K) of each network, by name, the teacher's first.
        x: (W,) abscissae.
        y: (H,) ordinates.
        points: (2,) coordinates of points to mark, by name, the base sample first.
        base: The base class.
        classes: Names of the classes.
    """
    fine = {name: _refined(each) for name, each in logits.items()}
    teacher, *_ = fine.values()
    colours = class_colours(list(fine.values()), [base])
    leads = {name: lead_on_grid(each, base) for name, each in fine.items()}
    of_teacher, *_ = leads.values()
    span = usual_size(list(leads.values()))
    levels = [level for level in MaxNLocator(5).tick_values(-span, span) if level != 0]
    rows = -(-len(logits) // COLUMNS)
    columns = -(-len(logits) // rows)
    figure, axes = new_figure(2.6 * columns + 0.5, 3.1 * rows + 0.8, rows, columns, share_y=True)
    for axis in axes[len(logits) :]:
        axis.set_visible(False)
    extent = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
    lines: dict[str, Any] = dict(extent=extent, colors=INK)
    for axis, (name, each) in zip(axes, fine.items(), strict=False):
        decided, title = each.argmax(dim=2).numpy(), wrapped(name)
        regions = np.array([to_rgba(colours.get(k, GREY), 0.5) for k in range(each.shape[2])])
        axis.imshow(regions[decided], extent=extent, origin='lower', interpolation='nearest')
        contours = axis.contour(leads[name], levels, linewidths=0.5, linestyles='solid', **lines)
        axis.clabel(contours, fontsize=7, fmt='%g')
        axis.contour(leads[name], [0.0], linewidths=2.0, **lines)
        if each is not teacher:
            axis.contour(of_teacher, [0.0], linewidths=1.3, linestyles='dashed', **lines)
            title += f'\nagrees on {agreement(each, teacher):.0%}'
        axis.set_title(title)
        _label_regions(axis, decided, classes, extent, list(points.values()))
        for place, point in enumerate(points.values()):
            axis.plot(*point.tolist(), MARKERS[place], **POINT)
    figure.supxlabel(f'from the base sample toward the boundary ({UNITS})', fontsize=10)
    for axis in axes[::columns]:
        axis.set_ylabel(f'aside ({UNITS})')
    handles = [axes[0].plot([], [], MARKERS[place], **POINT)[0] for place in range(len(points))]
    names = list(points)
    if len(logits) > 1:
        handles.append(axes[0].plot([], [], '--', color=INK, linewidth=1.3)[0])
        names.append("teacher's boundary")
    figure.legend(handles, names, loc='outside upper left', ncols=columns if rows == 1 else 2)
    return figure


def _refined(logits: Tensor) -> Tensor:
    """Bilinear interpolation of (H, W, K) logits; the corners stay where they are."""
    height, width, _ = logits.shape
    image = logits.detach().cpu().permute(2, 0, 1).unsqueeze(0)
    size = ((height - 1) * ZOOM + 1, (width - 1) * ZOOM + 1)
    image = F.interpolate(image, size=size, mode='bilinear', align_corners=True)
    return image.squeeze(0).permute(1, 2, 0)


def _label_regions(
    axis: Axes,
    decided: np.ndarray,
    classes: Sequence[str],
    extent: tuple[float, float, float, float],
    points: Sequence[Tensor],
) -> None:
    """Write the name of each larger region of (H, W) decisions deep inside, and off the points."""
    height, width = decided.shape
    x, y = np.linspace(*extent[:2], width), np.linspace(*extent[2:], height)
    free = np.ones_like(decided, dtype=bool)
    for point in points:
        free[np.abs(y - float(point[1])).argmin(), np.abs(x - float(point[0])).argmin()] = False
    for label in np.unique(decided):
        inside = (decided == label) & free
        if inside.mean() > LABELLED:
            depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
            row, column = divmod(int(depth.argmax()), width)
            place = (float(x[column]), float(y[row]))
            axis.text(*place, classes[label], ha='center', va='center', weight='bold')
