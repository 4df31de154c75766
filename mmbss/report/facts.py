"""What was compared, in a few lines: teacher, its accuracy, data."""

from collections.abc import Mapping
from typing import Any

from mmbss.engine.words import data_in_words, teacher_in_words
from mmbss.report.comparison import Comparison, is_of


def facts(
    comparison: Comparison, measured: Mapping[str, Any] | None, metric: str
) -> dict[str, str]:
    """What stands at the top of a report, by its heading.

    Args:
        comparison: What is reported.
        measured: What :func:`~mmbss.report.evaluation.evaluate_networks` has found.
        metric: Validation metric, which tells how good the teacher is where it was not measured.
    """
    found: dict[str, str] = {}
    teachers = comparison.teachers
    if teachers:
        found['teachers' if len(teachers) > 1 else 'teacher'] = '; '.join(
            map(teacher_in_words, teachers)
        )
    if len(teachers) == 1:
        own = [
            run for each in comparison.experiments if is_of(each, teachers[0]) for run in each.runs
        ]
        if measured and 'accuracy/top1' in measured['networks'][0]['metrics']:
            accuracy = measured['networks'][0]['metrics']['accuracy/top1']
            found["teacher's accuracy"] = (
                f'{accuracy:.2f} % of {measured["settings"]["dataset_size"]:,} test images'
            )
        elif own:
            found["teacher's accuracy"] = f'{own[0].last_value(metric):.2f} ({metric})'
    datasets = (each.runs[0].config.train_dataloader.dataset for each in comparison.students)
    found['training data'] = '; '.join(dict.fromkeys(map(data_in_words, datasets)))
    return found
