"""The table of accuracies of a comparison."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmbss.studies.experiments import Experiment
from mmbss.studies.results import Result, logged_result
from mmbss.studies.text import Table, deviation, markdown, spread


@dataclass(frozen=True)
class Row:
    """A line of the table: the runs of one config, one or more."""

    name: str
    results: Sequence[Result]

    @property
    def values(self) -> list[float]:
        """Metric of the last validation of each run, never of its best one."""
        return [each.value for each in self.results]

    def summary(self) -> dict[str, Any]:
        """What the file of a study says of it.

        ``epochs`` are those of the last validations, or iterations; the deviation (n - 1) is that
        of several values. Times of an iteration are the median over the runs of their medians,
        ``seconds`` the mean over the runs that tell how long they took; None where they were
        trained on several devices, which no one time describes.
        """
        devices = {each.device for each in self.results}
        timed = (
            [] if len(devices) > 1 or any(', then ' in each for each in devices) else self.results
        )
        times, seconds = (
            [number for each in timed if (number := getattr(each, key)) is not None]
            for key in ('ms_per_iteration', 'seconds')
        )
        folder, several = self.results[0].folder, len(self.results) > 1
        return dict(
            name=self.name,
            parameters=self.results[0].parameters,
            folder=folder.rpartition('/')[0] if several else folder,
            seeds=[each.seed for each in self.results],
            values=self.values,
            epochs=[each.epoch for each in self.results],
            mean=statistics.mean(self.values),
            standard_deviation=deviation(self.values) if several else None,
            ms_per_iteration=statistics.median(times) if times else None,
            seconds=statistics.mean(seconds) if seconds else None,
        )

    @property
    def cells(self) -> dict[str, str]:
        """What the table shows, as text."""
        own = self.summary()
        return dict(
            name=self.name,
            parameters=f'{own["parameters"]:,}',
            value=spread(self.values),
            seeds=', '.join(
                f'{"unset" if each.seed is None else each.seed}: {each.value:.2f}'
                for each in self.results
            ),
            time='' if own['ms_per_iteration'] is None else f'{own["ms_per_iteration"]:.1f}',
            seconds='' if own['seconds'] is None else f'{own["seconds"]:.0f}',
            folder=own['folder'],
        )


def accuracy_rows(experiments: Sequence[Experiment], metric: str) -> list[Row]:
    """A row for each experiment.

    Raises:
        ConfigError: If a run has never logged the metric.
    """
    return [
        Row(each.name, [logged_result(run, metric) for run in each.runs]) for each in experiments
    ]


def accuracy_table(rows: Sequence[Row], metric: str) -> Table:
    """A line for each row."""
    columns = dict(
        name='experiment',
        parameters='parameters',
        value=f'{metric}, last epoch',
        seeds='seeds',
        time='ms / iteration',
        seconds='s / run',
        folder='logs',
    )
    return list(columns.values()), [[row.cells[key] for key in columns] for row in rows]


def accuracy_markdown(rows: Sequence[Row], metric: str) -> str:
    """The table in Markdown."""
    return markdown(*accuracy_table(rows, metric), words=('seeds', 'logs'))
