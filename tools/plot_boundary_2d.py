r"""Draw the idea of the method on a problem with two inputs, trained for real in seconds.

    python tools/plot_boundary_2d.py --out docs/figures

A teacher learns two interleaved half circles from 2,000 samples. Students, far smaller, get 40 of
them: one learns the labels alone, one also the teacher's logits (KD), one besides the teacher's
logits at boundary samples (BSS). Prints on which share of the square each student decides like
the teacher, for every seed, and draws the seed whose gain of KD + BSS over KD is the median one,
to OUT/boundary-2d-light.svg and boundary-2d-dark.svg.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbss.engine.commands import new_parser


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument(
        '--out', type=Path, default=Path('docs/figures'), help='folder of the pictures'
    )
    parser.add_argument('--seeds', type=int, default=9, help='how many seeds, from 0')
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # answers --help before the imports that take seconds

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbss.attacks import ClosestAttack
from mmbss.boundary import BoundarySamples, find_boundary_samples
from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.engine.extras import named_extra
from mmbss.losses import KDLoss

with readable_errors(), named_extra():
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure

    from mmbss.visualization.style import (
        BLACK,
        BLUE,
        INK,
        STYLE,
        VERMILION,
        new_figure,
        save_figure,
    )

NUM_SAMPLES, NUM_STUDENT_SAMPLES, NOISE = 2000, 40, 0.12
TEACHER_WIDTH, STUDENT_WIDTH = 64, 12
NUM_STEPS = 600
#: The square that is drawn, compared and not left by samples: lowest and highest of both inputs.
WINDOW = ((-1.5, 2.5), (-1.75, 2.25))
EXTENT = (*WINDOW[0], *WINDOW[1])
COLOURS = (BLUE, VERMILION)
METHODS = ('labels', 'KD', 'KD + BSS')


def half_circles(count: int) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles with noise: (count, 2) samples and (count,) int64 labels."""
    labels = torch.arange(count) % 2
    angle = torch.rand(count) * torch.pi
    side = 1.0 - 2.0 * labels
    centre = torch.stack([labels.float(), 0.5 * labels], dim=1)
    samples = centre + torch.stack([side * angle.cos(), side * angle.sin()], dim=1)
    return samples + NOISE * torch.randn(count, 2), labels


def perceptron(width: int) -> nn.Sequential:
    """Two inputs, two hidden layers, two logits."""
    # smooth, so that the way to the boundary is short and straight
    hidden = [nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
    return nn.Sequential(*hidden, nn.Linear(width, 2))


def train(network: nn.Module, loss: Callable[[], Tensor]) -> nn.Module:
    """Minimise a loss over the whole training set."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(NUM_STEPS):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return network.eval()


def samples_at_boundary(teacher: nn.Module, samples: Tensor, labels: Tensor) -> BoundarySamples:
    """Move those samples that the teacher classifies correctly onto its boundary."""
    lowest, highest = torch.tensor(WINDOW).unbind(dim=1)
    return find_boundary_samples(
        teacher,
        samples,
        labels,
        ClosestAttack(),
        base_samples='all',
        target_class='second_most_probable',
        bounds=(lowest, highest),
    )


def train_student(method: str, teacher: nn.Module, samples: Tensor, labels: Tensor) -> nn.Module:
    """Train a student by one of :data:`METHODS`."""
    student = perceptron(STUDENT_WIDTH)
    distillation = KDLoss(temperature=3.0)
    with torch.no_grad():
        answers = teacher(samples)
    found = samples_at_boundary(teacher, samples, labels)

    def loss() -> Tensor:
        logits = student(samples)
        total = F.cross_entropy(logits, labels)
        if method != 'labels':
            total = total + distillation(logits, answers, labels)
        if method == 'KD + BSS':
            total = total + distillation(student(found.inputs), found.teacher_logits, found.labels)
        return total

    return train(student, loss)


@dataclass(frozen=True)
class Outcome:
    """What one seed has given.

    Attributes:
        samples: (N, 2) that the students learn from.
        labels: (N,) int64.
        found: Boundary samples of the teacher.
        grids: (R, R) lead of class 1 over class 0 by network, ``'teacher'`` and the methods.
    """

    samples: Tensor
    labels: Tensor
    found: BoundarySamples
    grids: dict[str, Tensor]

    def agreement(self, method: str) -> float:
        """Share of the square on which a student decides like the teacher."""
        same = (self.grids[method] > 0) == (self.grids['teacher'] > 0)
        return float(same.float().mean())

    @property
    def gain(self) -> float:
        """What the boundary samples add to that share."""
        return self.agreement('KD + BSS') - self.agreement('KD')


@torch.no_grad()
def lead_on_grid(network: nn.Module, resolution: int = 200) -> Tensor:
    """Lead of class 1 over class 0 on the square: (resolution, resolution), rows upward."""
    x, y = (torch.linspace(*side, resolution) for side in WINDOW)
    logits = network(torch.cartesian_prod(y, x).flip(1))
    return (logits[:, 1] - logits[:, 0]).view(resolution, resolution)


def run(seed: int) -> Outcome:
    """Train the teacher and a student by each method."""
    torch.manual_seed(seed)
    samples, labels = half_circles(NUM_SAMPLES)
    teacher = perceptron(TEACHER_WIDTH)
    train(teacher, lambda: F.cross_entropy(teacher(samples), labels))
    teacher.requires_grad_(False)
    samples, labels = samples[:NUM_STUDENT_SAMPLES], labels[:NUM_STUDENT_SAMPLES]
    networks = {method: train_student(method, teacher, samples, labels) for method in METHODS}
    networks['teacher'] = teacher
    grids = {name: lead_on_grid(network) for name, network in networks.items()}
    return Outcome(samples, labels, samples_at_boundary(teacher, samples, labels), grids)


@rc_context(STYLE)
def draw(outcome: Outcome) -> Figure:
    """Four panels: the teacher, a student without BSS, the boundary samples, a student with BSS."""
    figure, axes = new_figure(10.5, 2.9, columns=4, share_y=True)
    panels = (
        ('1. Teacher', 'teacher'),
        ('2. Student, KD', 'KD'),
        ('3. Boundary samples', 'teacher'),
        ('4. Student, KD + BSS', 'KD + BSS'),
    )
    for axis, (title, name) in zip(axes, panels, strict=True):
        axis.set_title(title, loc='left')
        axis.set_xlabel('input 1')
        draw_regions(axis, outcome.grids[name])
        if name != 'teacher':
            lines: dict[str, Any] = dict(linewidths=1.4, linestyles='dashed')
            axis.contour(outcome.grids['teacher'], [0.0], extent=EXTENT, colors=INK, **lines)
            share = f'{outcome.agreement(name):.1%}'
            axis.set_xlabel(f'input 1\ndecides like the teacher on {share}')
        axis.set(xlim=WINDOW[0], ylim=WINDOW[1])
    axes[0].set_ylabel('input 2')
    found = outcome.found
    start = outcome.samples[found.rows]
    for axis in axes[:2]:
        draw_samples(axis, outcome.samples, outcome.labels)
    draw_samples(axes[2], start, found.labels)
    arrows: dict[str, Any] = dict(scale=1.0, width=0.005, headwidth=4, color=INK)
    axes[2].quiver(*start.T, *(found.inputs - start).T, angles='xy', scale_units='xy', **arrows)
    for axis in axes[2:]:
        axis.plot(*found.inputs.T, 'D', color='white', mec=BLACK, ms=4, mew=1.0)
    return figure


def draw_regions(axis: Axes, lead: Tensor) -> None:
    """The two regions of a network and the boundary between them."""
    colours = np.array([to_rgba(colour, 0.25) for colour in COLOURS])[(lead > 0).long().numpy()]
    axis.imshow(colours, extent=EXTENT, origin='lower', interpolation='nearest')
    axis.contour(lead, [0.0], extent=EXTENT, colors=INK, linewidths=2.0)


def draw_samples(axis: Axes, samples: Tensor, labels: Tensor) -> None:
    """Samples, of a colour and a shape for each class."""
    for label, (colour, marker) in enumerate(zip(COLOURS, 'os', strict=True)):
        axis.plot(*samples[labels == label].T, marker, color=colour, ms=4.5, mew=0)


def main() -> None:
    """Train, print and draw."""
    args = parse_args()
    with readable_errors():
        if args.seeds < 1:
            raise ConfigError(f'--seeds must be at least 1, got {args.seeds}')
        outcomes = [run(seed) for seed in range(args.seeds)]
    print('decides like the teacher on (%)')
    for method in METHODS:
        shares = [100 * outcome.agreement(method) for outcome in outcomes]
        each = ' '.join(f'{share:.1f}' for share in shares)
        print(f'{method:>9}: mean {statistics.mean(shares):.1f}; by seed {each}')
    drawn = sorted(range(args.seeds), key=lambda seed: outcomes[seed].gain)[args.seeds // 2]
    figure = draw(outcomes[drawn])
    for theme in ('light', 'dark'):
        path = args.out / f'boundary-2d-{theme}.svg'
        save_figure(figure, path, theme)
        print(f'seed {drawn} drawn to {path}')


if __name__ == '__main__':
    main()
