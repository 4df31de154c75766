"""A figure with the words that go with it."""

from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure with the words that go with it.

    Attributes:
        name: Name of a file, without its suffix.
        figure: The figure.
        alt: What it shows, for those who cannot see it.
        caption: What to know to read it.
    """

    name: str
    figure: Figure
    alt: str
    caption: str = ''

    @property
    def width(self) -> float:
        """Width of the figure in inches."""
        return self.figure.get_figwidth()
