"""Numbers and tables as text."""

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

#: Headings of a table, and its cells line by line.
Table = tuple[list[str], list[list[str]]]


def spread(values: Sequence[float], form: str = '.2f') -> str:
    """Mean and, of several values, standard deviation (n - 1).

    Args:
        values: At least one.
        form: Format of the mean; that of the deviation without its sign.

    Examples:
        >>> spread([90.0, 92.0, 91.0]), spread([90.0]), spread([1, 2], '+.1f')
        ('91.00 ± 1.00', '90.00', '+1.5 ± 0.7')
    """
    mean = f'{statistics.mean(values):{form}}'
    if len(values) == 1:
        return mean
    return f'{mean} ± {deviation(values):{form.lstrip("+")}}'


def deviation(values: Sequence[float]) -> float:
    """Standard deviation (n - 1) of several values; NaN where one is not finite.

    Examples:
        >>> deviation([1.0, 3.0]), deviation([1.0, float('inf')])
        (1.4142135623730951, nan)
    """
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def tallied(values: Iterable[str]) -> str:
    """How often there is each value; '' where none is known.

    Examples:
        >>> tallied(['CPU', '', 'CPU']), tallied(['', ''])
        ('CPU (2), not known (1)', '')
    """
    counts = Counter(value or 'not known' for value in values)
    return '' if {*counts} <= {'not known'} else ', '.join(f'{k} ({n})' for k, n in counts.items())


def markdown(
    head: Sequence[str], lines: Iterable[Sequence[str]], words: Collection[str] = ()
) -> str:
    """A table in Markdown.

    Args:
        head: Headings.
        lines: Cells, line by line.
        words: Headings of columns that hold words, beside the first; numbers stand on the right.
    """
    sides = ['---' if name in {head[0], *words} else '---:' for name in head]
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in (head, sides, *lines))
