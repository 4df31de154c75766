"""What was compared, in a few lines: teacher, its accuracy, data."""

from collections.abc import Mapping
from typing import Any

from mmbss.engine.words import data_in_words, teacher_in_words
from mmbss.studies.comparison import Comparison, is_of
from mmbss.studies.text import tallied


def facts(
    comparison: Comparison, measured: Mapping[str, Any] | None, metric: str
) -> dict[str, str]:
    """What stands at the top of a report, by its heading.

    Args:
        comparison: What is reported.
        measured: What :func:`~mmbss.report.evaluation.evaluate_networks` has found.
        metric: Validation metric, which tells how good the teacher is where it was not measured.
    """
    found = {'question': comparison.question} if comparison.question else {}
    teachers = comparison.teachers
    if teachers:
        heading = 'teachers' if len(teachers) > 1 else 'teacher'
        found[heading] = '; '.join(map(teacher_in_words, teachers))
    if len(teachers) == 1:
        own = [each.runs[0] for each in comparison.experiments if is_of(each, teachers[0])]
        metrics = measured['networks'][0]['metrics'] if measured else {}
        if measured and 'accuracy/top1' in metrics:
            images = f'{measured["settings"]["dataset_size"]:,} test images'
            found["teacher's accuracy"] = f'{metrics["accuracy/top1"]:.2f} % of {images}'
        elif own:
            found["teacher's accuracy"] = f'{own[0].last_value(metric):.2f} ({metric})'
    loaders = (each.runs[0].config.get('train_dataloader') or {} for each in comparison.students)
    datasets = (loader.get('dataset', {}) for loader in loaders)
    found['training data'] = '; '.join(dict.fromkeys(map(data_in_words, datasets)))
    runs = [run for each in comparison.students for run in each.runs]
    for name, key in (('devices', 'device'), ('commits', 'commit')):
        if listed := tallied(str(run.info.get(key, '')) for run in runs):
            found[name] = listed
    return found
