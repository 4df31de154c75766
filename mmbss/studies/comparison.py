"""The runs below a work dir as what is compared: a teacher and its students."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmbss.engine.build import accepted_keys
from mmbss.engine.errors import ConfigError, first_of
from mmbss.studies.classifiers import TEACHER, Network
from mmbss.studies.experiments import Experiment, read_contents, read_experiments
from mmbss.studies.run_logs import LoggedRun
from mmbss.studies.settings import differences, what_counts, without_later_hooks
from mmbss.teachers import Teacher

#: What of a distiller's ``teacher`` says which network it is, and not how fast it runs.
TEACHER_KEYS = accepted_keys(Teacher).keys() - {'student_preprocessor', 'acceleration'}


@dataclass(frozen=True)
class Comparison:
    """Experiments with those of their runs that have been validated.

    Attributes:
        experiments: All of them, by their short names.
        waiting: Folders of the runs, and names of the arms, that have not been validated yet.
        question: What it asks, '' where nothing says it.
    """

    experiments: list[Experiment]
    waiting: list[str]
    question: str

    @property
    def teachers(self) -> list[Network]:
        """Config and checkpoint of each teacher, at best of one."""
        networks: list[Network] = []
        for experiment in self.experiments:
            if experiment.is_distillation:
                own = experiment.runs[0].config.model.teacher.to_dict()
                network = {key: value for key, value in own.items() if key in TEACHER_KEYS}
                if network not in networks:
                    networks.append(network)
        return networks

    @property
    def teacher(self) -> Network:
        """The teacher that all distilled students share.

        Raises:
            ConfigError: If there is none, or if there are several.
        """
        teachers = self.teachers
        if len(teachers) != 1:
            listed = ', '.join(str(each.get('checkpoint') or each['config']) for each in teachers)
            raise ConfigError(
                f'the boundaries of students are compared with that of one teacher, but the '
                f'experiments have {f"several ({listed})" if teachers else "none"}'
            )
        return teachers[0]

    @property
    def students(self) -> list[Experiment]:
        """The experiments but for those that have trained a teacher."""
        teachers = self.teachers
        return [each for each in self.experiments if not any(is_of(each, t) for t in teachers)]

    @property
    def differing_tests(self) -> list[str]:
        """In what runs are tested on other samples than the first, a line each."""
        runs = [run for each in self.students for run in each.runs]
        found = {
            run.folder: [*differences(tests_of(runs[0].config), tests_of(run.config))]
            for run in runs[1:]
        }
        return [
            f'{folder} is not tested on the samples of {runs[0].folder} '
            f'({first_of([path for path, *_ in each])}), so they have no table in common: measure '
            'each with --students of tools/evaluate_boundary.py'
            for folder, each in found.items()
            if each
        ]

    @property
    def remarks(self) -> list[str]:
        """What has to be said beside its figures."""
        runs = [(each.runs[0], run) for each in self.experiments for run in each.runs]
        settings = {
            run.folder: [key for key, is_seed in changed(first, run).items() if not is_seed]
            for first, run in runs
        }
        parts = {
            'Left out, since not validated yet': self.waiting,
            'Not trained to the end, and shown as far as they are': [
                f'{run.folder} ({run.unfinished})' for _, run in runs if run.unfinished
            ],
            'Averaged, although their settings are not those of the first seed': [
                f'{folder} ({first_of(keys)})' for folder, keys in settings.items() if keys
            ],
        }
        return [f'{what}: {", ".join(listed)}.' for what, listed in parts.items() if listed]

    @property
    def is_uneven(self) -> bool:
        """Whether no one command repeats all runs.

        Runs of one experiment differ in more than ``randomness.seed``, or experiments in their
        seeds.
        """
        seeds = {frozenset(run.seed for run in each.runs) for each in self.students}
        own = any(changed(each.runs[0], run) for each in self.students for run in each.runs)
        return own or len(seeds) > 1

    @property
    def student_networks(self) -> dict[str, Network]:
        """The networks of all runs of the students, by names of their own."""
        return {
            f'{each.name}, {run.folder.name}': dict(as_network(run), experiment=each.name)
            for each in self.students
            for run in each.runs
        }


def read_comparison(work_dir: Path) -> Comparison:
    """Read the runs below the work dir of ``tools/train.py`` or ``tools/compare.py``.

    Raises:
        MissingFileError: If there is no such folder, or it holds no run.
        ConfigError: If no run has been validated.
    """
    found, contents = read_experiments(work_dir), read_contents(work_dir)
    begun = {each.name for each in found}
    waiting = [name for name in contents.get('arms', ()) if name not in begun]
    waiting += [str(run.folder) for each in found for run in each.runs if not run.val_records]
    done = [replace(each, runs=[run for run in each.runs if run.val_records]) for each in found]
    done = [each for each in done if each.runs]
    if not done:
        raise ConfigError(f'no run has been validated yet: {", ".join(waiting)}')
    names = short_names([each.name for each in done])
    shortened = [replace(each, name=name) for each, name in zip(done, names, strict=True)]
    return Comparison(shortened, waiting, contents.get('question', ''))


def tests_of(config: Config) -> dict[str, Any]:
    """What a config says of its test samples."""
    loader = config.get('test_dataloader') or config.get('val_dataloader') or {}
    return {'test_dataloader.dataset': loader.get('dataset')}


def changed(first: LoggedRun, run: LoggedRun) -> dict[str, bool]:
    """Settings but ``randomness.seed`` in which two runs differ, and whether each is their seed."""
    one, other = what_counts(first.config), what_counts(run.config)
    found = differences(without_later_hooks(one, other), without_later_hooks(other, one))
    seeds = [first.seed, run.seed]
    return {path: values == seeds for path, *values in found if path != 'randomness.seed'}


def is_of(experiment: Experiment, teacher: Network) -> bool:
    """Whether the teacher's checkpoint comes from a run of the experiment."""
    if teacher.get('checkpoint') is None:
        return False
    folder = Path(teacher['checkpoint']).parent.resolve()
    return any(run.folder.resolve() == folder for run in experiment.runs)


def as_network(run: LoggedRun) -> Network:
    """Config and last checkpoint of a run's student."""
    return dict(config=str(run.config_file), checkpoint=str(run.checkpoint()))


def short_names(names: Sequence[str]) -> list[str]:
    """Names without the last words, divided by ``_``, that all names of several words share.

    Examples:
        >>> names = ['resnet8_digits', 'kd_resnet14-to-resnet8_digits']
        >>> short_names([*names, 'bss_resnet14-to-resnet8_digits'])
        ['resnet8', 'kd', 'bss']
        >>> short_names(['kd_resnet14_digits', 'kd_resnet20_digits'])
        ['kd_resnet14', 'kd_resnet20']
        >>> short_names(['resnet8_digits'])
        ['resnet8_digits']
        >>> short_names(['teacher_digits', 'kd_digits'])  # another is called teacher
        ['teacher_digits', 'kd_digits']
    """
    words = [name.split('_') for name in names]
    while len(names) > 1 and len({each[-1] for each in words if len(each) > 1}) == 1:
        shorter = [each[:-1] or each for each in words]
        if len({*map(tuple, shorter)}) < len({*map(tuple, words)}):
            break
        if [TEACHER] in shorter and [TEACHER] not in words:
            break
        words = shorter
    return ['_'.join(each) for each in words]
