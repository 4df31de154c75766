"""What runs have come to, and how the arms of a study differ."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mmbss.engine.build import check_keys
from mmbss.engine.errors import refuse
from mmbss.engine.models import count_parameters
from mmbss.studies.classifiers import build_classifier
from mmbss.studies.run_logs import LoggedRun, read_run
from mmbss.studies.runs import Run
from mmbss.studies.settings import options_in_words
from mmbss.studies.starting_files import differences_of
from mmbss.studies.statistics import PairedTest, holm, paired_differences, paired_test
from mmbss.studies.study import Study


@dataclass(frozen=True)
class Result:
    """What a run has come to.

    Attributes:
        arm: Name of its arm, or experiment.
        seed: Its seed, None where its config sets none.
        metric: Name of the validation metric.
        value: The metric at the last validation, never the best.
        epoch: Epoch, or iteration, of that.
        parameters: Parameters of the (student's) network.
        ms_per_iteration: Median of the logged times, None where there are none.
        seconds: How long it took, None where that is not known.
        folder: Its work dir, which may be gone.
        config: Path of its config file.
        options: Overrides, ``KEY=VALUE``.
        digest: Fingerprint of its complete config; see :attr:`~mmbss.studies.runs.Run.digest`.
        teacher: Fingerprint of the teacher's files, of the weights that the student started from
            and of the user's modules, None where they are not known; see
            :mod:`mmbss.studies.starting_files`.
        commit: Commits it was trained at.
        device: Devices it was trained on, '' where that is not known.
        evaluators: Fingerprint of the study's evaluators when they were asked, else ''.
        evaluators_weights: Fingerprint of the weights that these asked, None where not known.
        metrics: What they said.
    """

    arm: str
    seed: int | None
    metric: str
    value: float
    epoch: float
    parameters: int
    ms_per_iteration: float | None
    seconds: float | None
    folder: str
    config: str = ''
    options: list[str] = field(default_factory=list)
    digest: str = ''
    teacher: str | None = None
    commit: str = ''
    device: str = ''
    evaluators: str = ''
    evaluators_weights: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def is_of(self, run: Run) -> bool:
        """Whether a run would do the same again."""
        return self.digest == run.digest and not differences_of(self.teacher, run.teacher)

    def is_measured(self, study: Study) -> bool:
        """Whether the evaluators of a study would say the same again."""
        same_weights = not differences_of(self.evaluators_weights, study.asked_weights)
        return self.evaluators == study.asked and same_weights


def check_result(record: Any, where: str) -> None:
    """Refuse a record that :class:`Result` does not take.

    Raises:
        ConfigError: With a line for each key.
    """
    check_keys(record, Result, where)
    refuse(
        f'{where}: metrics.{name} must be a number, got {reprlib.repr(value)}'
        for name, value in record.get('metrics', {}).items()
        if isinstance(value, bool) or not isinstance(value, int | float)
    )


#: Results by arm and seed.
Results = dict[tuple[str, int | None], Result]


def logged_result(logged: LoggedRun, metric: str) -> Result:
    """The result of any training that has been validated.

    Raises:
        ConfigError: If it has never logged the metric.
    """
    return Result(
        arm=logged.name,
        seed=logged.seed,
        metric=metric,
        value=logged.last_value(metric),
        epoch=max(logged.val_series(metric)),
        parameters=count_parameters(build_classifier(str(logged.config_file))),
        ms_per_iteration=logged.ms_per_iteration(),
        seconds=logged.info.get('seconds'),
        folder=str(logged.folder),
        commit=logged.info.get('commit', ''),
        device=logged.info.get('device', ''),
    )


def read_result(run: Run, metric: str) -> Result:
    """The result of a run of a study that is done.

    Args:
        run: The run.
        metric: Name of the validation metric.

    Raises:
        ConfigError: If it has never logged the metric, or the last value is not finite.
    """
    result = replace(
        logged_result(read_run(run.folder), metric),
        arm=run.arm,
        seed=run.seed,
        config=run.config,
        options=options_in_words(run.options),
        digest=run.digest,
        teacher=run.info.get('teacher'),
        commit=run.info.get('commit', 'unknown'),
    )
    check_result(asdict(result), f'{run}: {metric} of {run.folder}')
    return result


def results_of(study: Study, results: Results) -> dict[str, list[Result]]:
    """Results of a study's metric by arm, in its order, the teacher first.

    Arms without any are left out, and so is what other evaluators than those of today have said.
    """
    keys = [(name, seed) for name in study.arms for seed in study.seeds]
    if teacher := study.teacher_run():
        keys.insert(0, (teacher.arm, teacher.seed))
    shown: dict[str, list[Result]] = {}
    for key in keys:
        if key in results and results[key].metric == study.metric:
            result = results[key]
            if not result.is_measured(study):
                result = replace(result, metrics={})
            shown.setdefault(key[0], []).append(result)
    return shown


@dataclass(frozen=True)
class Difference:
    """One arm minus another, tested over the seeds that both have.

    Attributes:
        first: Name of an arm.
        second: Name of the one that is subtracted.
        is_contrast: Whether it is the comparison that was written down first.
        test: See :class:`~mmbss.studies.statistics.PairedTest`.
        p: Of the t test: the contrast's own, that of others adjusted for how many are planned.
    """

    first: str
    second: str
    is_contrast: bool
    test: PairedTest
    p: float | None


def compare_arms(study: Study, shown: Mapping[str, Sequence[Result]]) -> list[Difference]:
    """Test the pairs of a study that have a seed in common, the contrast first.

    Args:
        study: The study.
        shown: See :func:`results_of`.
    """
    values = {name: {each.seed: each.value for each in own} for name, own in shown.items()}
    tests = {}
    for pair in study.pairs:
        paired = paired_differences(*(values.get(name, {}) for name in pair))
        if paired:
            tests[pair] = paired_test(paired, study.margin)
    others = [pair for pair in study.pairs if pair != study.contrast]
    found = [tests[pair].p_t if pair in tests else None for pair in others]
    p = dict(zip(others, holm(found), strict=True))
    return [
        Difference(*pair, pair == study.contrast, test, p.get(pair, test.p_t))
        for pair, test in tests.items()
    ]
