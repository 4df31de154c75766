"""A figure with the words that go with it."""

from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure with the words that go with it.

    The name is that of a file, without its suffix; ``alt`` is for those who cannot see it.
    """

    name: str
    figure: Figure
    alt: str
    caption: str = ''

    @property
    def width(self) -> float:
        """Width of the figure in inches."""
        return self.figure.get_figwidth()
