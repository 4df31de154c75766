"""The table of accuracies of a comparison."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mmbss.report.run_logs import Experiment
from mmbss.report.study_results import Result, logged_result
from mmbss.report.text import Table, markdown, spread


@dataclass(frozen=True)
class Row:
    """A line of the table: one config over its seeds.

    Attributes:
        name: Name of the experiment.
        parameters: Parameters of the (student's) network.
        folder: Folder of the runs.
        seeds: Seed of each run, None where its config sets none.
        values: Metric of the last validation of each run, never of its best one.
        epochs: Epoch, or iteration, of these validations.
        mean: Of the values.
        standard_deviation: Of several values (n - 1).
        ms_per_iteration: Median over the runs of their medians, where they have logged times.
        seconds: Mean over the runs that tell how long they took.
    """

    name: str
    parameters: int
    folder: str
    seeds: list[int | None]
    values: list[float]
    epochs: list[float]
    mean: float
    standard_deviation: float | None
    ms_per_iteration: float | None
    seconds: float | None

    @property
    def cells(self) -> dict[str, str]:
        """What the table shows, as text."""
        each = zip(self.seeds, self.values, strict=True)
        first, last = min(self.epochs), max(self.epochs)
        return dict(
            name=self.name,
            parameters=f'{self.parameters:,}',
            value=spread(self.values),
            seeds=', '.join(f'{"unset" if k is None else k}: {value:.2f}' for k, value in each),
            epochs=f'{last:g}' if first == last else f'{first:g} to {last:g}',
            time='' if self.ms_per_iteration is None else f'{self.ms_per_iteration:.1f}',
            seconds='' if self.seconds is None else f'{self.seconds:.0f}',
            folder=self.folder,
        )


def make_row(name: str, results: Sequence[Result]) -> Row:
    """The row of one experiment.

    Args:
        name: Its name.
        results: At least one.
    """
    values = [each.value for each in results]
    times = [each.ms_per_iteration for each in results if each.ms_per_iteration is not None]
    seconds = [each.seconds for each in results if each.seconds is not None]
    folder = results[0].folder
    return Row(
        name=name,
        parameters=results[0].parameters,
        folder=folder if len(results) == 1 else folder.rpartition('/')[0],
        seeds=[each.seed for each in results],
        values=values,
        epochs=[each.epoch for each in results],
        mean=statistics.mean(values),
        standard_deviation=statistics.stdev(values) if len(values) > 1 else None,
        ms_per_iteration=statistics.median(times) if times else None,
        seconds=statistics.mean(seconds) if seconds else None,
    )


def accuracy_rows(experiments: Sequence[Experiment], metric: str) -> list[Row]:
    """A row for each experiment.

    Raises:
        ConfigError: If a run has never logged the metric.
    """
    return [
        make_row(each.name, [logged_result(run, metric) for run in each.runs])
        for each in experiments
    ]


def accuracy_table(rows: Sequence[Row], metric: str) -> Table:
    """The table of a page."""
    columns = dict(
        name='experiment',
        value=metric,
        parameters='parameters',
        epochs='last epoch',
        time='ms / iteration',
        seconds='s / run',
    )
    if any(len(row.values) > 1 for row in rows):
        columns['seeds'] = 'by seed'
    return list(columns.values()), [[row.cells[key] for key in columns] for row in rows]


def accuracy_markdown(rows: Sequence[Row], metric: str) -> str:
    """The table in Markdown."""
    columns = dict(
        name='experiment',
        parameters='parameters',
        value=f'{metric}, last epoch',
        seeds='seeds',
        time='ms / iteration',
        seconds='s / run',
        folder='logs',
    )
    lines = [[row.cells[key] for key in columns] for row in rows]
    return markdown(list(columns.values()), lines, words=('seeds', 'logs'))
