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
from torch import Tensor

from mmbss.attacks.functional import class_lead
from mmbss.visualization.style import BLACK, GREY, INK, PALETTE, STYLE, new_figure, wrapped

#: Pixels that a grid point becomes; logits in between are interpolated.
ZOOM = 4
MARKERS = 'osD^v'
POINT: dict[str, Any] = dict(color='white', mec=BLACK, ms=7, mew=1.5)
#: Networks side by side before a new line begins.
COLUMNS = 4
#: A region that covers less than this share of the picture gets no label.
LABELLED = 0.03


def decisions(logits: Tensor) -> Tensor:
    """Classes that a network decides for on a grid: (H, W, K) logits to (H, W) int64."""
    return logits.argmax(dim=2)


def lead_on_grid(logits: Tensor, base: int) -> Tensor:
    """Lead of a class over the best other one: (H, W, K) logits to (H, W), 0 on its boundary."""
    rows = logits.flatten(0, 1)
    return class_lead(rows, torch.full_like(rows[:, 0], base, dtype=torch.long)).view(
        logits.shape[:2]
    )


def agreement(logits: Tensor, others: Tensor) -> float:
    """Share of a grid on which two networks decide for the same class, both (H, W, K)."""
    return float((decisions(logits) == decisions(others)).float().mean())


def class_colours(logits: Sequence[Tensor], first: Sequence[int]) -> dict[int, str]:
    """One colour for each class that any network decides for, those in ``first`` first."""
    seen = torch.cat([decisions(each).flatten() for each in logits]).bincount()
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
    units: str = 'normalised pixels',
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
        units: Units of the coordinates.
    """
    fine = {name: _refined(each) for name, each in logits.items()}
    teacher = next(iter(fine.values()))
    colours = class_colours(list(fine.values()), [base])
    leads = {name: lead_on_grid(each, base) for name, each in fine.items()}
    span = torch.stack(list(leads.values())).abs().quantile(0.9).item()
    levels = [level for level in MaxNLocator(5).tick_values(-span, span) if level != 0]
    rows = -(-len(logits) // COLUMNS)
    columns = -(-len(logits) // rows)
    figure, axes = new_figure(2.6 * columns + 0.5, 3.1 * rows + 0.8, rows, columns, share_y=True)
    for axis in axes[len(logits) :]:
        axis.set_visible(False)
    extent = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
    for axis, (name, each) in zip(axes, fine.items(), strict=False):
        regions = np.array([to_rgba(colours.get(k, GREY), 0.5) for k in range(each.shape[2])])
        axis.imshow(
            regions[decisions(each).numpy()], extent=extent, origin='lower', interpolation='nearest'
        )
        lines = axis.contour(
            leads[name], levels, extent=extent, colors=INK, linewidths=0.5, linestyles='solid'
        )
        axis.clabel(lines, fontsize=7, fmt='%g')
        axis.contour(leads[name], [0.0], extent=extent, colors=INK, linewidths=2.0)
        title = wrapped(name)
        if each is not teacher:
            axis.contour(
                leads[next(iter(leads))],
                [0.0],
                extent=extent,
                colors=INK,
                linewidths=1.3,
                linestyles='dashed',
            )
            title += f'\nagrees on {agreement(each, teacher):.0%}'
        axis.set_title(title)
        _label_regions(axis, decisions(each), classes, x, y, list(points.values()))
        for place, point in enumerate(points.values()):
            axis.plot(*point.tolist(), MARKERS[place], **POINT)
    figure.supxlabel(f'from the base sample toward the boundary ({units})', fontsize=10)
    for axis in axes[::columns]:
        axis.set_ylabel(f'aside ({units})')
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
    regions: Tensor,
    classes: Sequence[str],
    x: Tensor,
    y: Tensor,
    points: Sequence[Tensor],
) -> None:
    """Write the name of each larger region deep inside of it, and off the points."""
    height, width = regions.shape
    columns = torch.linspace(float(x[0]), float(x[-1]), width)
    rows = torch.linspace(float(y[0]), float(y[-1]), height)
    free = torch.ones(height, width, dtype=torch.bool)
    for point in points:
        distance = torch.hypot(columns[None, :] - point[0], rows[:, None] - point[1])
        free &= distance > 0.05 * (columns[-1] - columns[0])
    for label in regions.unique().tolist():
        inside = (regions == label) & free
        if inside.float().mean() > LABELLED:
            row, column = _deepest_point(inside.float())
            place = (float(columns[column]), float(rows[row]))
            axis.text(*place, classes[label], ha='center', va='center', weight='bold')


def _deepest_point(inside: Tensor) -> tuple[int, int]:
    """Row and column of the (H, W) mask that a growing border swallows last."""
    left = F.pad(inside, (1, 1, 1, 1))[None, None]
    while True:
        eroded = -F.max_pool2d(-left, kernel_size=5, stride=1, padding=2)
        if not eroded.any():
            break
        left = eroded
    rows, columns = left[0, 0, 1:-1, 1:-1].nonzero().T
    middle = len(rows) // 2
    return int(rows[middle]), int(columns[middle])
