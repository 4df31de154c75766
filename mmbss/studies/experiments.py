"""The runs below a work dir, by what was trained."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmbss.engine.errors import ConfigError, MissingFileError
from mmbss.studies.run_logs import (
    STUDY_FILE,
    LoggedRun,
    Series,
    is_of_seed,
    is_run,
    read_json,
    read_run,
)

#: Folder of a run; a copy beside it has another name.
SEED = re.compile(r'seed_-?\d+')


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
        seeds = [path for path in folder.glob('seed_*') if SEED.fullmatch(path.name)]
        seeds.sort(key=lambda path: (len(path.name), path.name))
        folders += [path for path in seeds or [folder] if is_run(path)]
    if not folders:
        raise MissingFileError(
            f'{work_dir} holds no run: give the work dir of tools/train.py or tools/compare.py'
        )
    return folders


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


def by_experiment(runs: Sequence[LoggedRun]) -> list[Experiment]:
    """Put runs of one name together, in their order."""
    names = dict.fromkeys(run.name for run in runs)
    return [Experiment(name, [run for run in runs if run.name == name]) for name in names]
