"""What a training has left in its folder: config, log of scalars, checkpoint."""

import itertools
import json
import re
import reprlib
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmbss.engine.errors import ConfigError, MissingFileError, naming, one_line
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
            ConfigError: If the run has never logged it.
        """
        series = self.val_series(metric)
        if not series:
            known = sorted({name for record in self.val_records for name in record} - {'step'})
            raise ConfigError(
                f'{self.folder} has logged no {metric}; choose with --metric among {known}'
            )
        return series[max(series)]

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
    logs = sorted(folder.glob(LOGS))
    if not logs:
        raise MissingFileError(f'{folder} holds no run: there is no {folder}/{LOGS}')
    records: list[dict[str, Any]] = []
    for log in logs:
        later = [*_read_log(log)]
        records = [*_before(records, later), *later]
    with naming(str(logs[-1].with_name('config.py'))):
        config = Config.fromfile(logs[-1].with_name('config.py'))
    place = folder.absolute()
    return LoggedRun(
        name=place.parent.name if is_of_seed(place) else place.name,
        folder=folder,
        seed=config.get('randomness', {}).get('seed'),
        config=config,
        train_records=[record for record in records if 'lr' in record],
        val_records=[record for record in records if 'lr' not in record],
    )


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

    Each has begun at the time that its folder is called after, and ended when it last wrote to its
    log.
    """
    total = 0.0
    for log in folder.glob(f'{"[0-9]" * 8}_{"[0-9]" * 6}/*.log'):
        start = datetime.strptime(log.parent.name, '%Y%m%d_%H%M%S')
        total += max(log.stat().st_mtime - start.timestamp(), 0.0)
    return total


def read_contents(folder: Path) -> dict[str, Any]:
    """What a study has written of itself into the folder of its runs; empty if nothing.

    Returns:
        Its ``question``, and the folders of its ``arms`` by name, those of the teacher first.

    Raises:
        ConfigError: If the file is damaged.
    """
    content = read_json(folder / STUDY_FILE)
    if content is None:
        return {}
    try:
        arms = {name: Path(path) for name, path in content['arms'].items()}
        return dict(question=str(content['question']), arms=arms)
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f'{folder / STUDY_FILE} is damaged: remove it') from error


def find_run_folders(work_dir: Path) -> list[Path]:
    """Folders of the runs below the work dir of a run or of a comparison.

    The arms of the last call of ``tools/compare.py`` come first, in its order and with the teacher
    that it has trained elsewhere, then those of earlier calls.

    Raises:
        MissingFileError: If there is no such folder, or it holds no run.
    """
    if not work_dir.is_dir():
        raise MissingFileError(f'no folder {work_dir}: give the work dir of a training or a study')
    if is_run(work_dir):
        return [work_dir]
    arms = read_contents(work_dir).get('arms', {})
    # a comparison may have been moved since
    named = [near if (near := work_dir / name).is_dir() else arms[name] for name in arms]
    named += sorted(path for path in work_dir.iterdir() if path.is_dir() and path not in named)
    folders = []
    for folder in named:
        seeds = sorted(folder.glob('seed_*'), key=lambda path: (len(path.name), path.name))
        folders += [path for path in seeds or [folder] if is_run(path)]
    if not folders:
        raise MissingFileError(
            f'{work_dir} holds no run: give the work dir of tools/train.py or tools/compare.py'
        )
    return folders


@dataclass(frozen=True)
class Experiment:
    """Runs of one config that differ in the seed alone."""

    name: str
    runs: list[LoggedRun]

    @property
    def is_distillation(self) -> bool:
        """Whether it has a teacher."""
        return 'teacher' in self.runs[0].config.get('model', {})

    def collect(self, series: Callable[[LoggedRun], Series]) -> dict[float, list[float]]:
        """Values of a series over the runs, by epoch."""
        collected: dict[float, list[float]] = defaultdict(list)
        for run in self.runs:
            for step, value in series(run).items():
                collected[step].append(value)
        return dict(sorted(collected.items()))


def read_experiments(work_dir: Path) -> list[Experiment]:
    """Read the runs below a work dir, by experiment.

    Raises:
        MissingFileError: If there is no such folder, or it holds no run.
    """
    runs = [read_run(folder) for folder in find_run_folders(work_dir)]
    stems = [run.name if is_of_seed(run.folder) else run.config_file.stem for run in runs]
    # the config says more than the folder, unless several runs have it, or it has no name
    return by_experiment(
        [
            run
            if stems.count(stem) > 1 or re.fullmatch(r'config|[\d_]+', stem)
            else replace(run, name=stem)
            for run, stem in zip(runs, stems, strict=True)
        ]
    )


def by_experiment(runs: Sequence[LoggedRun]) -> list[Experiment]:
    """Put runs of one name together, in their order."""
    names = dict.fromkeys(run.name for run in runs)
    return [Experiment(name, [run for run in runs if run.name == name]) for name in names]
