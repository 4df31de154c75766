"""The files of a study: one record a run in JSON, from which tables and plot are made."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from filelock import FileLock

from mmbss.engine.errors import ConfigError, problems_of, refuse
from mmbss.engine.files.atomic import whole_file
from mmbss.studies.accuracy_table import Row
from mmbss.studies.results import Result, Results, check_result, compare_arms, results_of
from mmbss.studies.run_logs import STUDY_FILE, read_json
from mmbss.studies.study import Study
from mmbss.studies.study_tables import study_markdown
from mmbss.visualization.draw_curves import draw_accuracies
from mmbss.visualization.style import save_figure


def read_results(study: Study) -> Results:
    """All results in the JSON file of a study, also of arms and seeds that it has no more.

    Raises:
        ConfigError: If the file is damaged; with a line for each result that is none.
    """
    path = study.file('.json')
    stored = read_json(path)
    records = stored.get('results') if isinstance(stored, dict) else []
    if not isinstance(stored, dict | None) or not isinstance(records, list):
        raise ConfigError(f'{path} is damaged, it lists no results: restore it, or remove it')
    refuse(
        line
        for number, each in enumerate(records)
        for line in problems_of(check_result, each, f'{path}: results.{number}')
    )
    results: Results = {}
    for result in (Result(**each) for each in records):
        if (key := (result.arm, result.seed)) in results:
            raise ConfigError(f'{path} has two results of {key[0]}, seed {key[1]}: remove one')
        results[key] = result
    return results


def keep(study: Study, *new: Result, others: Sequence[Result] = ()) -> str:
    """Add results to those in the files of a study, and write all files anew.

    Several threads and processes may do so at the same time.

    Args:
        study: The study.
        *new: Results to add.
        others: Stored results that belong to other settings; no table shows them.

    Returns:
        The tables in Markdown.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    study.results.parent.mkdir(parents=True, exist_ok=True)
    # beside the results, which several folders of runs may share
    with FileLock(study.results.with_name(f'.{study.results.name}.lock')):
        results = read_results(study)
        results |= {(result.arm, result.seed): result for result in new}
        return write_results(study, results, others)


def write_results(study: Study, results: Results, others: Sequence[Result] = ()) -> str:
    """Write JSON, Markdown and plot; see :func:`keep`."""
    # another process may have put one that belongs here into its place
    left = [key for key, each in results.items() if each in others]
    shown = results_of(study, {key: each for key, each in results.items() if key not in left})
    rows = [Row(name, own) for name, own in shown.items()]
    found = compare_arms(study, shown)
    table = study_markdown(study, shown, found, left)
    content: dict[str, Any] = dict(
        study=study.name,
        question=study.question,
        metric=study.metric,
        seeds=study.seeds,
        contrast=study.contrast,
        margin=study.margin,
        arms=[row.summary() for row in rows],
        differences=[asdict(each) for each in found],
        results=[asdict(each) for each in results.values()],
    )
    for path, written in (
        (study.file('.json'), content),
        (study.folder / STUDY_FILE, contents_of(study)),
    ):
        with whole_file(path) as part:
            part.write_text(json.dumps(written, indent=1) + '\n')
    with whole_file(study.file('.md')) as part:
        part.write_text(table)
    if rows:
        figure = draw_accuracies({row.name: row.values for row in rows}, f'{study.metric}, last')
        save_figure(figure, study.file('.svg'))
    return table


def contents_of(study: Study) -> dict[str, Any]:
    """See :func:`~mmbss.studies.experiments.read_contents`."""
    teacher = study.teacher_run()
    arms = {teacher.arm: teacher.folder} if teacher else {}
    arms |= {name: study.folder / name for name in study.arms}
    return dict(question=study.question, arms={name: str(folder) for name, folder in arms.items()})
