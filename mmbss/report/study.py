"""A study: arms that are compared over seeds, and the one contrast that was written down first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmbss.engine.build import check_known
from mmbss.engine.cli import load_config
from mmbss.engine.config_checks import check_config
from mmbss.engine.errors import ConfigError, problems_of, refuse
from mmbss.report.runs import Run

#: Keys of a study's file. Names of its own are in capitals, or begin with an underscore.
KEYS = (
    'question',
    'teacher',
    'common',
    'arms',
    'seeds',
    'seed_keys',
    'contrast',
    'secondary',
    'margin',
    'metric',
    'evaluators',
)


@dataclass(frozen=True)
class Arm:
    """What is compared: a config and what is changed in it, by dotted key."""

    config: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Arms, each with every seed.

    Attributes:
        name: Name of the study.
        folder: Its runs lie in ``folder/ARM/seed_N``.
        results: Its results, without an ending.
        arms: What is compared, by name.
        seeds: Seeds of each arm.
        question: What it asks, in one sentence.
        teacher: Config that is trained first and once, into ``work_dirs/<its name>``.
        common: Options of all arms, which an arm's own replace.
        seed_keys: Keys that are set to the seed of the run, beside ``randomness.seed``.
        contrast: The arms of the one comparison that decides: the first minus the second.
        secondary: Further pairs of arms; by default each arm against the second of the contrast.
        margin: Differences below it count as none, in the unit of the metric.
        metric: Validation metric, of which the last value counts.
        evaluators: Metrics that are asked once of the last checkpoint of each run.
    """

    name: str
    folder: Path
    results: Path
    arms: dict[str, Arm]
    seeds: Sequence[int]
    question: str = ''
    teacher: str | None = None
    common: Mapping[str, Any] = field(default_factory=dict)
    seed_keys: Sequence[str] = ()
    contrast: tuple[str, str] | None = None
    secondary: Sequence[tuple[str, str]] | None = None
    margin: float = 0.5
    metric: str = 'accuracy/top1'
    evaluators: Sequence[Any] = ()

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of arms to compare, the contrast first."""
        if self.contrast is None:
            return list(self.secondary or ())
        others = self.secondary
        if others is None:
            others = [(name, self.contrast[1]) for name in self.arms if name != self.contrast[1]]
        return [self.contrast, *(pair for pair in others if pair != self.contrast)]

    def runs(self) -> list[Run]:
        """Its runs, a seed after the other, so that an early table has all arms."""
        return [self.run(name, seed) for seed in self.seeds for name in self.arms]

    def run(self, name: str, seed: int) -> Run:
        """The run of an arm with a seed."""
        arm = self.arms[name]
        options = {**self.common, **arm.options, **dict.fromkeys(self.seed_keys, seed)}
        return Run(name, arm.config, seed, self.folder / name / f'seed_{seed}', options)

    def teacher_run(self) -> Run | None:
        """The run of the teacher, if the study trains it."""
        if self.teacher is None:
            return None
        name = Path(self.teacher).stem
        return Run(name, self.teacher, self.seeds[0], Path('work_dirs') / name)

    def check(self) -> None:
        """Refuse a study with mistakes that can be seen before anything is trained.

        Raises:
            ConfigError: With a line for each mistake.
        """
        problems = [f'two seeds are {seed}' for seed in self.seeds if self.seeds.count(seed) > 1]
        for pair in self.pairs:
            if len(set(pair)) != 2 or not set(pair) <= set(self.arms):
                problems.append(
                    f'{self.name} compares {" with ".join(pair)}: name two of {[*self.arms]}'
                )
        if not self.margin > 0:
            problems.append(f'{self.name}: margin must be above 0, got {self.margin}')
        if not (self.arms and self.seeds):
            problems.append(f'{self.name} needs an arm and a seed')
        for run in [self.run(name, self.seeds[0]) for name in self.arms if self.seeds]:
            found = problems_of(lambda run=run: check_config(run.merged))
            problems += [f'{run.arm}: {line}' for line in found]
        refuse(dict.fromkeys(problems))


def read_study(path: str, results: Path) -> Study:
    """Read the file of a study.

    Args:
        path: A Python file with the keys of :class:`Study`, but for name and folders.
        results: Folder of the results.

    Raises:
        ConfigError: If it cannot be read, or has a key that no study has.
    """
    content = load_config(path).to_dict()
    own = {key: value for key, value in content.items() if key[0] != '_' and not key.isupper()}
    check_known(own, KEYS, f'the study {path}')
    name = Path(path).stem
    arms = {}
    for arm, settings in own.pop('arms').items():
        check_known(settings, ('config', 'options'), f'arm {arm} of {path}')
        arms[arm] = Arm(**settings)
    if 'seeds' not in own:
        raise ConfigError(f'the study {path} has no seeds: add seeds = [0, 1, 2]')
    if own.get('contrast') is not None:
        own['contrast'] = tuple(own['contrast'])
    if own.get('secondary') is not None:
        own['secondary'] = [tuple(pair) for pair in own['secondary']]
    return Study(name, Path('work_dirs/studies') / name, results / name, arms, **own)


def study_of_configs(configs: Sequence[str], folder: Path, **settings: Any) -> Study:
    """The study with one arm a config, called after it.

    Args:
        configs: Config files.
        folder: Folder of runs and results.
        settings: Further attributes of the study.

    Raises:
        ConfigError: If two configs have the same name.
    """
    names = [Path(config).stem for config in configs]
    twice = [name for name in names if names.count(name) > 1]
    refuse(f'two configs are called {name}: rename one' for name in dict.fromkeys(twice))
    arms = {name: Arm(config) for name, config in zip(names, configs, strict=True)}
    return Study('compare', folder, folder / 'compare', arms, **settings)
