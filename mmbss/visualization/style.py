"""What all pictures share: colours that colour-blind readers can tell apart, and the formats.

The colours are those of Okabe and Ito (2008). A picture has no background of its own and writes
in one ink, which a dark page replaces by a light one.
"""

import io
import re
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmbss.engine.errors import ConfigError

BLUE, VERMILION, GREEN, PURPLE = '#0072b2', '#d55e00', '#009e73', '#cc79a7'
ORANGE, SKY_BLUE, YELLOW, BROWN = '#e69f00', '#56b4e9', '#f0e442', '#8c564b'
#: Of the teacher, whose students have the others.
GREY = '#8c959f'
#: Colours of lines and regions, the most different first.
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE, BROWN, YELLOW)
DASHES = ('-', '--', ':', '-.')
#: Text, axes and boundaries; on a dark page :data:`DARK_INK`.
INK, DARK_INK = '#24292f', '#e6edf3'
#: Edges of points, which are white on both pages.
BLACK = '#000000'
THEMES = ('auto', 'light', 'dark')
SUFFIXES = ('.svg', '.png', '.pdf')

FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
STYLE: dict[Any, Any] = {
    'svg.fonttype': 'none',  # text stays text, in the reader's own font
    'svg.hashsalt': 'mmbss',  # the same picture twice is the same file
    'text.parse_math': False,  # names may hold a dollar sign
    'font.size': 10,
    'axes.titlesize': 11,
    'text.color': INK,
    'axes.edgecolor': INK,
    'axes.labelcolor': INK,
    'axes.titlecolor': INK,
    'xtick.color': INK,
    'ytick.color': INK,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.linewidth': 0.8,
    'axes.axisbelow': True,
    'grid.color': GREY,
    'grid.alpha': 0.35,
    'grid.linewidth': 0.6,
    'legend.frameon': False,
    'lines.linewidth': 1.8,
    'figure.constrained_layout.h_pad': 0.08,  # titles keep off the ticks above them
}


def line_style(index: int) -> tuple[str, str]:
    """Colour and dashes of the ``index``-th line; no two of the first 28 are the same."""
    colours = PALETTE[:-1]  # yellow lines vanish on white paper
    return colours[index % len(colours)], DASHES[index // len(colours) % len(DASHES)]


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure, in inches, without pyplot's global state, and its axes row by row."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout='constrained')
        figure.patch.set_alpha(0.0)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    for each in axes.flat:
        each.patch.set_alpha(0.0)
    return figure, list(axes.flat)


def settle(figure: Figure) -> None:
    """Lay a figure out for good: done again, the layout would move by a hair each time."""
    if figure.get_layout_engine() is not None:
        with rc_context(STYLE):
            figure.draw_without_rendering()
            figure.draw_without_rendering()  # once more: titles have grown meanwhile
        figure.set_layout_engine('none')


def to_svg(figure: Figure, theme: str = 'auto') -> str:
    """Render as SVG.

    Args:
        figure: The figure.
        theme: ``'light'`` or ``'dark'`` page, or ``'auto'``, which follows the reader's setting.

    Raises:
        ConfigError: If there is no such theme.
    """
    if theme not in THEMES:
        raise ConfigError(f'theme must be one of {THEMES}, got {theme!r}')
    settle(figure)
    buffer = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format='svg', metadata=dict(Date=None, Creator=None))
    _, svg, text = buffer.getvalue().partition('<svg')
    text = re.sub(r'<metadata>.*?</metadata>\s*', '', svg + text, flags=re.DOTALL)
    text = re.sub(r'font-family: [^;"]*', f'font-family: {FONTS}', text)
    if theme == 'light':
        return text
    if theme == 'dark':
        return text.replace(INK, DARK_INK)
    rules = f'svg{{color:{INK}}}@media(prefers-color-scheme:dark){{svg{{color:{DARK_INK}}}}}'
    head, end, text = text.partition('>')
    return f'{head}{end}<style>{rules}</style>{text.replace(INK, "currentColor")}'


def save_figure(figure: Figure, path: Path, theme: str = 'light') -> None:
    """Write a figure to a file; SVG in any theme, PNG and PDF on white paper.

    Raises:
        ConfigError: If the name of the file ends otherwise.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f'{path}: a picture ends in {", ".join(SUFFIXES)}')
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.svg':
        path.write_text(to_svg(figure, theme), encoding='utf-8')
        return
    settle(figure)
    with rc_context(STYLE):
        figure.savefig(path, dpi=150, facecolor='white')


def wrapped(name: str, width: int = 26) -> str:
    """A long name in several lines, broken behind ``_`` or ``-``.

    Examples:
        >>> print(wrapped('kd_resnet14-to-resnet8-w2', width=16))
        kd_resnet14-to-
        resnet8-w2
    """
    lines = ['']
    for piece in re.split(r'(?<=[_-])', name):
        if lines[-1] and len(lines[-1] + piece) > width:
            lines.append('')
        lines[-1] += piece
    return '\n'.join(lines)
