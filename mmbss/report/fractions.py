"""Accuracies by the share of the training set that runs were trained on."""

import logging
from collections import defaultdict
from pathlib import Path

from mmengine.logging import print_log

from mmbss.engine.errors import ConfigError
from mmbss.engine.words import innermost, selection, training_fraction
from mmbss.studies.comparison import short_names
from mmbss.studies.experiments import read_experiments

#: Last values of a metric by experiment and fraction of the training set.
Accuracies = dict[str, dict[float, list[float]]]


def accuracies_by_fraction(work_dirs: list[Path], metric: str) -> Accuracies:
    """Last values of the metric by experiment and fraction.

    A teacher that a comparison lists, but that lies elsewhere, is left out.

    Raises:
        MissingFileError: If a folder holds no run.
        ConfigError: If all runs were trained on the same share, or on shares of different parts.
    """
    values: Accuracies = defaultdict(lambda: defaultdict(list))
    picked: set[str] = set()
    for work_dir in dict.fromkeys(path.resolve() for path in work_dirs):
        for experiment in read_experiments(work_dir):
            for run in experiment.runs:
                if not run.folder.is_relative_to(work_dir):
                    continue
                if run.unfinished:
                    print_log(
                        f'{run.folder} is not trained to its end: {run.unfinished}',
                        logger='current',
                        level=logging.WARNING,
                    )
                dataset = run.config.train_dataloader.dataset
                if 'datasets' in innermost(dataset):
                    raise ConfigError(
                        f'{run.folder}: its training set is made of several, of which a share '
                        'does not tell the images: leave it out'
                    )
                picked.add(selection(dataset))
                fraction = training_fraction(dataset)
                values[experiment.name][fraction].append(run.last_value(metric))
    if len(picked) > 1:
        listed = ', '.join(sorted(each.removesuffix(' of ') or 'all' for each in picked))
        raise ConfigError(
            f'runs were trained on shares of different parts of the training set ({listed}): give '
            'those of one part'
        )
    if len({fraction for own in values.values() for fraction in own}) < 2:
        raise ConfigError(
            'all runs were trained on the same share of the training set: give comparisons that '
            'differ in train_dataloader.dataset.fraction'
        )
    return dict(zip(short_names(list(values)), values.values(), strict=True))
