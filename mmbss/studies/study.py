"""A study: arms that are compared over seeds, and the one contrast that was written down first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmbss.engine.build import accepted_keys, check_keys, check_known
from mmbss.engine.cli.config import load_config
from mmbss.engine.config_checks import check_config
from mmbss.engine.errors import ConfigError, problems_of, refuse
from mmbss.engine.fitting import PLAIN
from mmbss.studies.metrics import check_evaluators, check_metric
from mmbss.studies.runs import Run, check_place
from mmbss.studies.settings import (
    by_dotted_key,
    differences,
    digest_of,
    settled_keys,
    what_counts,
)
from mmbss.studies.starting_files import digest_of_teachers
from mmbss.teachers.sources.load import kind_of

#: Attributes of a study that its file does not say.
OF_PLACE = ('name', 'folder', 'results')


@dataclass(frozen=True)
class Arm:
    """What is compared: a config, and what is changed in it.

    Attributes:
        config: Config file.
        options: What is changed in it, by dotted key.
        seeds: With how many of the study's seeds it is run, from the first; by default with all.
    """

    config: str
    options: dict[str, Any] = field(default_factory=dict)
    seeds: int | None = None


@dataclass(frozen=True)
class Study:
    """Arms, each with its seeds; what its file may say, and of which type, is declared here.

    Attributes:
        name: Name of the study.
        folder: Its runs lie in ``folder/ARM/seed_N``.
        results: Its results, without an ending.
        arms: What is compared, by name.
        seeds: Seeds of each arm that does not say with how many of them it is run.
        question: What it asks, in one sentence.
        teacher: Config that is trained first and once, into ``work_dirs/<its name>``.
        common: Options of all arms, which an arm's own replace.
        seed_keys: Keys that are set to the seed of the run, beside ``randomness.seed``.
        contrast: The arms of the one comparison that decides: the first minus the second.
        looks: Numbers of seeds after which the contrast is looked at, each at 0.05 divided by how
            many looks there are (Bonferroni); by default once, with all seeds. The study may end
            at the first look that decides.
        secondary: Further pairs of arms; by default each arm against the second of the contrast.
        margin: Differences below it count as none, in the unit of the metric.
        metric: Validation metric, of which the last value counts.
        evaluators: Metrics that are asked once of the last checkpoint of each run.
    """

    name: str
    folder: Path
    results: Path
    arms: dict[str, Arm]
    seeds: list[int]
    question: str = ''
    teacher: str | None = None
    common: dict[str, Any] = field(default_factory=dict)
    seed_keys: list[str] = field(default_factory=list)
    contrast: tuple[str, str] | None = None
    looks: list[int] = field(default_factory=list)
    secondary: list[tuple[str, str]] | None = None
    margin: float = 0.5
    metric: str = 'accuracy/top1'
    evaluators: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of arms to compare, the contrast first."""
        if self.contrast is None:
            return [*(self.secondary or ())]
        others = self.secondary
        if others is None:
            others = [(name, self.contrast[1]) for name in self.arms if name != self.contrast[1]]
        return list(dict.fromkeys([self.contrast, *others]))

    @property
    def planned(self) -> list[int]:
        """Numbers of seeds after which the contrast is looked at."""
        return self.looks or [len(self.seeds)]

    @property
    def asked(self) -> str:
        """Fingerprint of the evaluators, '' where there are none."""
        return digest_of(self.evaluators) if self.evaluators else ''

    @property
    def asked_weights(self) -> str | None:
        """Fingerprint of the weights that the evaluators ask, None where none are there."""
        return digest_of_teachers(each.get('teacher') or {} for each in self.evaluators)

    def runs(self) -> list[Run]:
        """Its runs, a seed after the other, so that an early table has all arms."""
        return [
            self.run(name, seed)
            for seed in self.seeds
            for name in self.arms
            if seed in self.seeds_of(name)
        ]

    def seeds_of(self, name: str) -> list[int]:
        """The seeds of an arm."""
        return self.seeds[: self.arms[name].seeds]

    def file(self, ending: str) -> Path:
        """The file of its results with an ending, such as ``'.json'``."""
        return self.results.with_name(self.results.name + ending)

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
        refuse(dict.fromkeys(self._mistakes()))
        runs = [self.run(name, min(self.seeds)) for name in self.arms]
        if teacher := self.teacher_run():
            runs.insert(0, teacher)
        problems = problems_of(check_evaluators, self.evaluators)
        for run in runs:
            problems += [f'{run.arm}: {line}' for line in problems_of(self._check_run, run)]
        refuse(dict.fromkeys(problems))
        refuse(dict.fromkeys(self._unlike_pairs()))

    def _mistakes(self) -> Iterator[str]:
        """Mistakes in what the study itself says."""
        for name in self.arms:
            if not is_name(name):
                yield (
                    f'{self.name}: arms: {name!r} is no name of a folder: write it as text without '
                    'slashes and bars, that does not begin with a dot'
                )
        for seed in self.seeds:
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
                yield f'{self.name}: seeds: {seed!r} must be a whole number from 0 to 2**32 - 1'
            if self.seeds.count(seed) > 1:
                yield f'two seeds are {seed}'
        named = [self.contrast] if self.contrast else []
        for pair in [*named, *(self.secondary or ())]:
            if len({*pair}) != 2 or not {*pair} <= {*self.arms}:
                yield f'{self.name} compares {" with ".join(pair)}: name two of {[*self.arms]}'
        for name, arm in self.arms.items():
            is_whole = isinstance(arm.seeds, int) and 1 <= arm.seeds <= len(self.seeds)
            if arm.seeds is not None and not is_whole:
                yield (
                    f'{self.name}: arm {name}: seeds={arm.seeds} must be a whole number from 1 to '
                    f'the {len(self.seeds)} of the study'
                )
            if arm.seeds not in (None, len(self.seeds)) and name in (self.contrast or ()):
                yield f'{self.name}: {name} is an arm of the contrast, which needs all seeds'
        looks, last = self.looks, len(self.seeds)
        rising = looks == sorted({*looks}) and looks[:1] > [1] and looks[-1:] == [last]
        if looks and not (self.contrast and rising):
            yield (
                f'{self.name}: looks={looks}: name a contrast, and numbers of seeds that rise '
                f'from 2 or more to all {last}'
            )
        if not self.margin > 0:
            yield f'{self.name}: margin must be above 0, got {self.margin}'
        if not (self.arms and self.seeds):
            yield f'{self.name} needs an arm and a seed'
        if self.teacher is not None and Path(self.teacher).stem in self.arms:
            name = Path(self.teacher).stem
            yield f'{self.name}: an arm and the teacher are both called {name}: rename one'
        if self.teacher is not None and kind_of(self.teacher)[0] != 'openmmlab':
            yield (
                f'{self.name}: teacher={self.teacher!r} is no config to train: leave it out, and '
                'name it in the configs, model.teacher.config'
            )
        said = {'common': self.common, 'seed_keys': dict.fromkeys(self.seed_keys)}
        said |= {f'{name}: options': arm.options for name, arm in self.arms.items()}
        for where, options in said.items():
            for key, value in by_dotted_key(options):
                if value == {}:
                    yield (
                        f'{self.name}: {where}: {key!r} is empty, which changes nothing: with '
                        'dict(_delete_=True) it would be emptied'
                    )
            of_seed = () if where == 'seed_keys' else self.seed_keys
            for key in settled_keys(options, of_seed):
                yield f'{self.name}: {where}: {key!r} is set by the study itself: leave it out'

    def _unlike_pairs(self) -> Iterator[str]:
        """Compared arms that do not differ, or are not measured on the same images."""
        arms = {name: self.run(name, min(self.seeds)) for pair in self.pairs for name in pair}
        parts = ['val_dataloader', 'val_evaluator']
        parts += ['test_dataloader'] if self.evaluators else []
        settings = {name: what_counts(run.merged) for name, run in arms.items()}
        measured = {
            name: _without_pipelines({part: own.get(part) for part in parts})
            for name, own in settings.items()
        }
        for first, second in self.pairs:
            one, other = arms[first], arms[second]
            if (one.digest, one.teacher) == (other.digest, other.teacher):
                yield f'{self.name}: {first} and {second} are the same training: leave out one'
            for path, here, there in differences(measured[first], measured[second]):
                if not path.endswith(('batch_size', 'num_workers')):
                    yield (
                        f'{self.name} compares {first} with {second}, but {path} is {here!r} in '
                        f'{first} and {there!r} in {second}: measure both on the same images'
                    )

    def _check_run(self, run: Run) -> None:
        check_place(run)
        check_config(run.merged)
        run.written()
        check_metric(run.merged, self.metric)
        if self.evaluators and run.arm in self.arms and run.merged.get('test_dataloader') is None:
            refuse(['test_dataloader is missing, on which evaluators are asked: add it'])


def _without_pipelines(settings: Any) -> Any:
    """Settings without what becomes of an image, such as the size that a network takes."""
    if isinstance(settings, dict):
        return {
            key: _without_pipelines(value) for key, value in settings.items() if key != 'pipeline'
        }
    if isinstance(settings, list):
        return [_without_pipelines(value) for value in settings]
    return settings


def is_name(name: Any) -> bool:
    """Whether an arm may be called so: a folder and a cell of a table are.

    Examples:
        >>> [is_name(name) for name in ('kd-t4', 'kd, w=0.3', '../kd', '..', 'a|b', '', 3)]
        [True, True, False, False, False, False, False]
    """
    is_text = isinstance(name, str) and name != '' and name.isprintable()
    return is_text and name[0] != '.' and not {*name} & {*'/\\|'}


def read_study(path: str, results: Path) -> Study:
    """Read the file of a study.

    Args:
        path: A Python file with the keys of :class:`Study`, but for name and folders. Names of its
            own are in capitals, or begin with an underscore.
        results: Folder of the results.

    Raises:
        ConfigError: If it cannot be read, lacks a key, has one that no study has, or a value of
            another type; with a line for each.
    """
    if Path(path).suffix != '.py':
        raise ConfigError(f'{path} holds no study: name its Python file')
    where, content = f'the study {path}', load_config(path).to_dict()
    own = {key: value for key, value in content.items() if key[0] != '_' and not key.isupper()}
    keys = [key for key in accepted_keys(Study) if key not in OF_PLACE]
    problems = problems_of(check_known, own, keys, where)
    if isinstance(own.get('seeds'), range):
        own['seeds'] = [*own['seeds']]
    problems += [
        f'{where}: {key}={value!r} is nothing that a study takes: write it as a list or a text'
        for key, value in own.items()
        if not isinstance(value, (*PLAIN, dict))
    ]
    known = {key: value for key, value in own.items() if key in keys}
    problems += problems_of(check_keys, known, Study, where, OF_PLACE)
    arms = own.get('arms')
    for arm, settings in arms.items() if isinstance(arms, dict) else ():
        problems += problems_of(check_keys, settings, Arm, f'arm {arm} of {path}')
    refuse(problems)
    own['arms'] = {
        name: Arm(**dict(each, config=str(each['config']))) for name, each in own['arms'].items()
    }
    if own.get('contrast') is not None:
        own['contrast'] = (*own['contrast'],)
    if own.get('secondary') is not None:
        own['secondary'] = [(*pair,) for pair in own['secondary']]
    name = Path(path).stem
    return Study(name, Path('work_dirs/studies') / name, results / name, **own)


def is_study(path: str) -> bool:
    """Whether a file is that of a study, and no config of a training.

    Raises:
        ConfigError: If it cannot be read.
    """
    names = {*load_config(path)}
    return 'model' not in names and bool(names & {'arms', 'contrast', 'seeds'})


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
