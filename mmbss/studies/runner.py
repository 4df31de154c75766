"""Do what is left of a study: train, measure, and keep each result as soon as it is there."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmengine.config import Config
from rich.live import Live
from rich.text import Text

from mmbss.engine.config_checks.rules import missing_files
from mmbss.engine.errors import ConfigError, first_of, lines_of, problems_of, refuse
from mmbss.engine.work_dir import put_aside
from mmbss.studies.files import keep, read_results
from mmbss.studies.progress import Progress
from mmbss.studies.results import Result, read_result
from mmbss.studies.run_logs import is_run
from mmbss.studies.runs import Run
from mmbss.studies.starting_files import differences_of
from mmbss.studies.study import Study


@dataclass(frozen=True)
class StudyRunner:
    """How a study is run.

    Attributes:
        study: The study.
        tools: Folder of ``train.py`` and ``test.py``.
        jobs: Runs at the same time.
        threads: Threads of torch of each, unless ``OMP_NUM_THREADS`` says otherwise.
        trains: Whether to train; else what is finished already is read and measured.
        rerun: Whether to train anew what belongs to another config, instead of refusing it.
        others: Stored results that belong to other settings than the study has now; beside new
            results they would be taken for the same.
    """

    study: Study
    tools: Path
    jobs: int = 1
    threads: int = 1
    trains: bool = True
    rerun: bool = False
    others: list[Result] = field(default_factory=list, init=False)

    def __call__(self, runs: Sequence[Run]) -> str:
        """Finish runs, the teacher's first.

        Returns:
            The tables in Markdown.

        Raises:
            ConfigError: If results or folders belong to other configs, before anything is done; if
                the evaluators lack a file, before any arm is trained; or if runs have failed,
                after all others.
        """
        teacher = self.study.teacher_run()
        first = [teacher] if teacher else []
        # students are judged by the teacher's new checkpoint where it is trained anew
        self.refuse_others(first if self.rerun else [*first, *runs])
        if teacher:
            self.finish(teacher)
        if self.rerun:
            self.refuse_others(runs)
        stored = read_results(self.study)
        found = [stored.get((run.arm, run.seed)) for run in runs]
        is_any_left = not all(
            result and result.is_of(run) for run, result in zip(runs, found, strict=True)
        )
        if teacher and self.trains and is_any_left and not teacher.is_done():
            # its result is stored, but what it was read from is not here
            teacher.train(self.tools / 'train.py', self.threads)
        # also of seeds that an arm has no more, which the table shows
        self.others.extend(
            result
            for (arm, seed), result in stored.items()
            if arm in self.study.arms
            and seed in self.study.seeds
            and not result.is_of(self.study.run(arm, seed))
        )
        if any(self.is_unmeasured(*each) for each in zip(runs, found, strict=True)):
            refuse(missing_files(Config(dict(evaluators=self.study.evaluators))))
        errors, progress = [], Progress(len(runs), self.jobs)

        def finish(run: Run) -> bool:
            with progress.under_way(run):
                return self.finish(run)

        def waiting() -> tuple[list[Run], list[Result]]:
            left = [run for one, run in futures.items() if not one.done()]
            return left, [*read_results(self.study).values()]

        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {pool.submit(finish, run): run for run in runs}
            # on a terminal alone the lines of the runs under way are seen, written anew in place
            seen = Live(
                get_renderable=lambda: Text('\n'.join(progress.lines(*waiting()))),
                refresh_per_second=0.5,
                auto_refresh=sys.stdout.isatty(),
                transient=True,
            )
            seen.start()
            try:
                for future in as_completed(futures):
                    error = future.exception()
                    if isinstance(error, ConfigError):
                        errors += lines_of(error)
                    elif error is not None:
                        raise error
                    elif future.result() and self.trains:
                        print(progress.in_all(*waiting()), flush=True)
            finally:  # Ctrl+C ends what is running, and must not start what is not
                seen.stop()
                pool.shutdown(cancel_futures=True)
        table = keep(self.study, others=self.others)
        if errors:
            print(table)
        refuse(errors)
        return table

    def refuse_others(self, runs: Sequence[Run]) -> None:
        """Refuse results and folders of other configs, or put the folders aside."""
        stored, problems = read_results(self.study), []
        for run in runs:
            result = stored.get((run.arm, run.seed))
            if result and result.is_of(run):  # whatever its folder holds
                if self.is_unmeasured(run, result) and not self.holds(run, result):
                    problems.append(
                        f'{run}: its result in {self.study.results}.json is still to be measured, '
                        f'but {run.folder} does not hold that training: restore it, or take the '
                        'result out of the file to train anew'
                    )
                continue
            strange = problems_of(run.is_done)
            if strange and self.rerun:
                put_aside(run.folder)
            elif result and not (strange or self.rerun):
                files = differences_of(result.teacher, run.teacher)
                problems.append(
                    f'{run}: its result in {self.study.results}.json belongs to another version '
                    f'of {first_of(files) if files else f"{run.config} or of its options"}: '
                    '--rerun trains it anew'
                )
            elif not self.rerun:
                problems += strange
        refuse(problems)

    def holds(self, run: Run, result: Result) -> bool:
        """Whether the folder of a run holds the training that a stored result is of."""
        if not is_run(run.folder) or problems_of(run.is_done) or not run.is_done():
            return False
        return read_result(run, result.metric).value == result.value

    def finish(self, run: Run) -> bool:
        """Train and measure a run, as far as its result is not stored; whether there was a need.

        Raises:
            ConfigError: If a training or a test fails, or the metric was never logged.
        """
        study = self.study
        result = read_results(study).get((run.arm, run.seed))
        is_new = result is None or not result.is_of(run) or result.metric != study.metric
        if is_new or result is None:
            if not run.is_done():
                if not self.trains:
                    return False
                run.train(self.tools / 'train.py', self.threads)
            result = read_result(run, study.metric)
            keep(study, result, others=self.others)
            print(f'{run}: {study.metric} {result.value:.2f}, {result.seconds:.0f} s', flush=True)
        if not self.is_unmeasured(run, result):
            return is_new
        metrics = run.measure(list(study.evaluators), self.tools / 'test.py', self.threads)
        result = replace(
            result,
            evaluators=study.asked,
            evaluators_weights=study.asked_weights,
            metrics=metrics,
        )
        keep(study, result, others=self.others)
        return True

    def is_unmeasured(self, run: Run, result: Result | None) -> bool:
        """Whether the evaluators are still to be asked of a run."""
        if run.arm not in self.study.arms or not (result or self.trains):
            return False
        if result is None:
            return bool(self.study.asked)
        return not result.is_measured(self.study)
