r"""Draw accuracy against the share of the training set, from several comparisons.

    python tools/plot_fractions.py work_dirs/cifar10-* --out fractions.svg

Each run says itself which share it was trained on: the fraction of its mmbss.StratifiedSubset,
all without one. Runs of one experiment and one share are seeds of a point.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.report.run_logs import read_experiments
from mmbss.visualization.draw_curves import draw_accuracy_over_fraction
from mmbss.visualization.style import save_figure, short_names

Accuracies = dict[str, dict[float, list[float]]]


def training_fraction(dataset: dict[str, Any]) -> float:
    """Share of the training set that a dataset config keeps, wrappers of it included."""
    inner = dataset.get('dataset')
    fraction = float(dataset.get('fraction', 1.0))
    return fraction * training_fraction(inner) if isinstance(inner, dict) else fraction


def collect(work_dirs: list[Path], metric: str) -> Accuracies:
    """Last values of the metric by experiment and fraction.

    A teacher that a comparison lists, but that lies elsewhere, is left out.

    Raises:
        MissingFileError: If a folder holds no run.
        ConfigError: If all runs were trained on the same share.
    """
    values: Accuracies = defaultdict(lambda: defaultdict(list))
    for work_dir in work_dirs:
        for experiment in read_experiments(work_dir):
            for run in experiment.runs:
                if not run.folder.is_relative_to(work_dir):
                    continue
                fraction = training_fraction(run.config.train_dataloader.dataset)
                values[experiment.name][fraction].append(run.last_value(metric))
    if len({fraction for own in values.values() for fraction in own}) < 2:
        raise ConfigError(
            'all runs were trained on the same share of the training set: give comparisons that '
            'differ in train_dataloader.dataset.fraction'
        )
    return dict(zip(short_names(list(values)), values.values(), strict=True))


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'work_dirs', nargs='+', type=Path, help='work dirs of tools/compare.py, one a fraction'
    )
    parser.add_argument('--out', type=Path, default=Path('fractions.svg'), help='svg, png or pdf')
    parser.add_argument('--metric', default='accuracy/top1', help='metric on the ordinate')
    return parser.parse_args()


def main() -> None:
    """Draw."""
    args = parse_args()
    with readable_errors():
        figure = draw_accuracy_over_fraction(
            collect(args.work_dirs, args.metric), f'{args.metric} (%)'
        )
        save_figure(figure, args.out)
    print(f'written to {args.out}')


if __name__ == '__main__':
    main()
