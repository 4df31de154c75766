"""Base samples, what an attack has added to them, and what networks say of both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mmbss.attacks.functional import Bounds, ends
from mmbss.visualization.boundary_pairs import BoundaryPairs, ToLogits
from mmbss.visualization.style import GREY, STYLE, line_style, new_figure

#: Classes whose probabilities are shown for each sample.
NUM_CLASSES = 4
HEADINGS = ('base sample', 'perturbation', 'boundary sample', 'probabilities before', 'after')


def to_images(samples: Tensor, bounds: Bounds) -> np.ndarray:
    """Undo the normalisation of images.

    Args:
        samples: (N, C, H, W) in the units of ``bounds``.
        bounds: Lowest and highest value of an input, which are pixels 0 and 255.

    Returns:
        (N, H, W, C) float32 in [0, 1].
    """
    lowest, highest = ends(bounds, samples, 'images')
    images = ((samples - lowest) / (highest - lowest)).clamp(0.0, 1.0)
    return images.permute(0, 2, 3, 1).detach().cpu().numpy()


def perturbation_image(base: np.ndarray, boundary: np.ndarray) -> tuple[np.ndarray, float]:
    """A perturbation as an image around middle grey.

    Args:
        base: (H, W, C) in [0, 1].
        boundary: (H, W, C) in [0, 1].

    Returns:
        (H, W, C) in [0, 1], 0.5 where nothing has changed, and the factor that the largest
        change is scaled by to reach 0 or 1.
    """
    change = boundary - base
    factor = 0.5 / max(float(np.abs(change).max()), 1e-12)
    return 0.5 + factor * change, factor


def shown_classes(before: Tensor, base: int, target: int) -> list[int]:
    """Base and target class and the next most probable ones of (K,) probabilities."""
    others = before.clone()
    others[[base, target]] = -1.0
    count = min(NUM_CLASSES, len(before)) - 2
    return [base, target, *others.topk(count).indices.tolist()]


@rc_context(STYLE)
def draw_boundary_samples(
    pairs: BoundaryPairs, networks: dict[str, ToLogits], bounds: Bounds, classes: Sequence[str]
) -> Figure:
    """A line for each pair: images, the scaled perturbation, probabilities before and after.

    Lengths of perturbations are L2 norms of images with values in [0, 1].

    Args:
        pairs: N > 0 pairs.
        networks: The networks that are asked, by name, the teacher first.
        bounds: Pixels 0 and 255.
        classes: Names of the classes.
    """
    base_images = to_images(pairs.base_samples, bounds)
    boundary_images = to_images(pairs.boundary_samples, bounds)
    with torch.no_grad():
        before, after = (
            {name: ask(images).softmax(dim=1).cpu() for name, ask in networks.items()}
            for images in (pairs.base_samples, pairs.boundary_samples)
        )
    bars = 1.0 + 0.16 * max(len(networks) - 2, 0)
    figure, axes = new_figure(10.5, 1.75 * bars * len(pairs) + 0.5, rows=len(pairs), columns=5)
    for row, (base, target) in enumerate(zip(pairs.base, pairs.target, strict=True)):
        line = axes[5 * row : 5 * row + 5]
        if row == 0:
            for axis, heading in zip(line, HEADINGS, strict=True):
                axis.set_title(heading)
        image, boundary = base_images[row], boundary_images[row]
        change, factor = perturbation_image(image, boundary)
        length = float(np.linalg.norm(boundary - image))
        base_class, target_class = int(base), int(target)
        show_image(line[0], image, f'class {classes[base_class]}')
        show_image(line[1], change, f'x {factor:.3g}, length {length:.3f}')
        show_image(line[2], boundary, f'toward {classes[target_class]}')
        shown = shown_classes(next(iter(before.values()))[row], base_class, target_class)
        names = [classes[label] for label in shown]
        for axis, answers in zip(line[3:], (before, after), strict=True):
            values = {name: each[row, shown].tolist() for name, each in answers.items()}
            draw_bars(axis, values, names)
        line[4].tick_params(labelleft=False)
        if row == len(pairs) - 1:
            for axis in line[3:]:
                axis.set_xlabel('probability')
    handles: list[Any] = axes[3].containers
    lines = -(-len(networks) // 4)
    columns = -(-len(networks) // lines)
    figure.legend(handles, list(networks), loc='outside lower center', ncols=columns)
    return figure


def show_image(axis: Axes, image: np.ndarray, caption: str) -> None:
    """Show a (H, W, C) image in [0, 1] with a caption below; grey, the mean, unless C is 3."""
    axis.imshow(image if image.shape[2] == 3 else image.mean(2), cmap='gray', vmin=0, vmax=1)
    axis.set_xlabel(caption)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def draw_bars(axis: Axes, values: dict[str, list[float]], names: Sequence[str]) -> None:
    """Bars of probabilities: a group for each name, a bar in it for each network."""
    height = 0.8 / len(values)
    places = np.arange(len(names))
    for index, (network, own) in enumerate(values.items()):
        colour = GREY if index == 0 else line_style(index - 1)[0]
        axis.barh(places - 0.4 + (index + 0.5) * height, own, height, color=colour, label=network)
    axis.set_yticks(places, names)
    axis.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    axis.set_xticks([0, 0.5, 1], ['0', '0.5', '1'])
    axis.grid(axis='x')
