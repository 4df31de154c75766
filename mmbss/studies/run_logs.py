"""What a training has left in its folder: config, log of scalars, checkpoint."""

import itertools
import json
import reprlib
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmbss.engine.errors import ConfigError, MissingFileError, one_line
from mmbss.engine.files.config_text import read_written
from mmbss.engine.resume import own_checkpoints, read_pointer, templates_of

#: A scalar over the training: its value by epoch, or by iteration.
Series = dict[float, float]
LOGS = '*/vis_data/scalars.json'
#: What ``tools/compare.py`` writes about a run, and about all of a study.
RUN_FILE, STUDY_FILE = 'run.json', 'study.json'


@dataclass(frozen=True)
class LoggedRun:
    """One training, from what it has written to its folder.

    Attributes:
        name: Name of the experiment.
        folder: The run's work dir.
        seed: Seed, None where the config sets none.
        config: The complete config it was trained with, overrides and all.
        train_records: Scalars logged in training, in their order.
        val_records: Scalars logged by validation, in their order.
    """

    name: str
    folder: Path
    seed: int | None
    config: Config
    train_records: list[dict[str, Any]]
    val_records: list[dict[str, Any]]

    @property
    def by_epoch(self) -> bool:
        """Whether the training is counted in epochs, not in iterations."""
        return all('epoch' in record for record in self.train_records)

    @property
    def unfinished(self) -> str:
        """How far a training is that has not come to its end, such as 'epoch 3 of 80', else ''."""
        plan = self.config.get('train_cfg') or {}
        unit = 'epoch' if plan.get('max_epochs') else 'iteration'
        last = plan.get('max_epochs') or plan.get('max_iters')
        # one that has stopped early has ended, too, if it is known that it has
        if not last or 'seconds' in self.info:
            return ''
        reached = max((record['step'] for record in self.val_records), default=0)
        # 0 is what mmengine names by default where iterations are counted
        return '' if reached >= last or not reached else f'{unit} {reached:g} of {last}'

    @cached_property
    def info(self) -> dict[str, Any]:
        """What ``tools/compare.py`` has written about the run, if it started it."""
        return read_info(self.folder)

    @property
    def config_file(self) -> Path:
        """The complete config as a file, with which the run can be repeated."""
        dumped = sorted(self.folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
        return dumped[-1] if dumped else Path(self.config.filename)

    def train_series(self, name: str, while_positive: str | None = None) -> Series:
        """A training scalar, averaged over each epoch; empty where it was never logged.

        Args:
            name: Name of the scalar.
            while_positive: Another scalar; only records in which it is above 0 count.
        """
        unit = 'epoch' if self.by_epoch else 'step'
        values: dict[float, list[float]] = defaultdict(list)
        for record in self.train_records:
            if name in record and (while_positive is None or record.get(while_positive, 0) > 0):
                values[record[unit]].append(record[name])
        return {step: statistics.mean(own) for step, own in sorted(values.items())}

    def val_series(self, name: str) -> Series:
        """A validation metric; of steps validated twice, after a resume, the last value."""
        return {record['step']: record[name] for record in self.val_records if name in record}

    def last_value(self, metric: str) -> float:
        """The metric of the last validation, not of the best.

        Raises:
            ConfigError: If the run has not logged it, or not in its last validation.
        """
        series = self.val_series(metric)
        if not series:
            known = sorted({name for record in self.val_records for name in record} - {'step'})
            raise ConfigError(
                f'{self.folder} has logged no {metric}; choose with --metric among {known}'
            )
        last = max(record['step'] for record in self.val_records)
        if last not in series:
            raise ConfigError(
                f'{self.folder}: the last validation, at {last:g}, has no {metric}; the last one '
                f'that has is at {max(series):g}: choose another with --metric'
            )
        return series[last]

    def ms_per_iteration(self) -> float | None:
        """Median of the logged times of an iteration, in milliseconds."""
        times = [record['time'] for record in self.train_records if 'time' in record]
        return 1000 * statistics.median(times) if times else None

    def checkpoint(self) -> Path:
        """The last checkpoint of the run.

        Raises:
            MissingFileError: If the folder holds none.
        """
        pointer = read_pointer(self.folder)
        # the folder may have been moved, so the name alone counts
        named = [] if pointer is None else [self.folder / pointer.name]
        numbered = own_checkpoints(self.folder, templates_of(self.config))
        for path in [*named, *itertools.chain(*numbered)]:
            if path.is_file():
                return path
        raise MissingFileError(
            f'{self.folder} holds no checkpoint epoch_*.pth; what needs networks can be left out '
            'with --logs-only'
        )


def read_json(path: Path) -> Any:
    """What a JSON file of ours holds; None where there is none.

    Raises:
        ConfigError: If it is damaged.
    """
    try:
        return json.loads(path.read_text()) if path.is_file() else None
    except ValueError as error:  # neither JSON nor text
        raise ConfigError(
            f'{path} is damaged: {one_line(error)}: restore it, or remove it'
        ) from error


def read_info(folder: Path) -> dict[str, Any]:
    """What ``tools/compare.py`` has written about the run in a folder; empty if nothing.

    Raises:
        ConfigError: If the file is damaged.
    """
    path = folder / RUN_FILE
    info = read_json(path)
    kinds = dict(seconds=int | float, commit=str, teacher=str | None)
    is_sound = isinstance(info, dict) and all(
        isinstance(info[key], kind) for key, kind in kinds.items() if key in info
    )
    if info is not None and not is_sound:
        raise ConfigError(f'{path} is damaged: it says {reprlib.repr(info)}: remove it')
    return info or {}


def is_run(folder: Path) -> bool:
    """Whether a training has logged into the folder."""
    return any(folder.glob(LOGS))


def read_run(folder: Path) -> LoggedRun:
    """Read the folder of one training.

    Raises:
        MissingFileError: If no training has logged there.
        ConfigError: If a log or its config is damaged.
    """
    logs = {log: [*_read_log(log)] for log in sorted(folder.glob(LOGS))}
    if not logs:
        raise MissingFileError(f'{folder} holds no run: there is no {folder}/{LOGS}')
    records: list[dict[str, Any]] = []
    order = in_time(logs)
    for log in order:
        records = [*_before(records, logs[log]), *logs[log]]
    file = order[-1].with_name('config.py')
    config = Config(read_written(file), filename=str(file))
    place = folder.absolute()
    return LoggedRun(
        name=place.parent.name if is_of_seed(place) else place.name,
        folder=folder,
        seed=config.get('randomness', {}).get('seed'),
        config=config,
        train_records=[record for record in records if 'lr' in record],
        val_records=[record for record in records if 'lr' not in record],
    )


def in_time(logs: dict[Path, list[dict[str, Any]]]) -> list[Path]:
    """Logs one after the other, of which each goes on from a checkpoint of those before it.

    Their folders are called after the local time, which may have stepped back between two of them:
    at another place, in autumn, or where a clock was set right. Then the order in which they were
    written last counts, provided that each begins where an earlier one had come to.

    Args:
        logs: Records of each log, sorted by the names of the folders.
    """
    named, written = [*logs], sorted(logs, key=lambda log: log.stat().st_mtime)
    return written if _is_going_on(logs, written) and not _is_going_on(logs, named) else named


def _is_going_on(logs: dict[Path, list[dict[str, Any]]], order: list[Path]) -> bool:
    """Whether no log begins before the one ahead of it, or where that did and ends before it."""
    steps = [[each['step'] for each in logs[log] if 'lr' in each] for log in order]
    spans = [(own[0], own[-1]) for own in steps if own]
    return spans == sorted(spans)


def _read_log(log: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(log.read_text(errors='replace').splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise ConfigError(f'{log}, line {number} is no record of a training: remove the line')
        yield record


def _before(records: list[dict[str, Any]], later: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of earlier logs, but for those that a later one, from a checkpoint or anew, repeats.

    Steps of a validation are epochs where those of the training name their epoch.
    """
    first = next((record for record in later if 'lr' in record), None)
    if first is None:
        return records
    ends = {True: first['step'], False: first.get('epoch', first['step'])}
    return [record for record in records if record['step'] < ends['lr' in record]]


def is_of_seed(folder: Path) -> bool:
    """Whether the folder is called after a seed, and the one above it after what was run."""
    return folder.name.startswith('seed_')


def logged_seconds(folder: Path) -> float:
    """Seconds that processes, interrupted ones too, have spent on the run in ``folder``.

    Each has begun when it wrote its config, and ended when it last wrote to its log.
    """
    total = 0.0
    for log in folder.glob('*/*.log'):
        config = log.parent / 'vis_data' / 'config.py'
        if config.is_file():
            total += max(log.stat().st_mtime - config.stat().st_mtime, 0.0)
    return total
