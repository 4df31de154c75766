r"""Draw accuracy against the share of the training set, from several comparisons.

    python tools/plot_fractions.py work_dirs/cifar10-* --out fractions.svg

Each run says itself which share it was trained on: the fraction of its mmbss.StratifiedSubset,
all without one. Runs of one experiment and one share are seeds of a point.
"""

import argparse
from pathlib import Path

from mmbss.engine.cli.flags import new_file
from mmbss.engine.commands import new_parser
from mmbss.engine.errors import readable_errors
from mmbss.engine.extras import named_extra


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument(
        'work_dirs', nargs='+', type=Path, help='work dirs of tools/compare.py, one a fraction'
    )
    parser.add_argument(
        '--out', type=new_file, default=Path('fractions.svg'), help='svg, png or pdf'
    )
    parser.add_argument('--metric', default='accuracy/top1', help='metric on the ordinate')
    return parser.parse_args()


def main() -> None:
    """Draw."""
    args = parse_args()
    with readable_errors(), named_extra():
        from mmbss.report.fractions import accuracies_by_fraction
        from mmbss.studies.metric_tables import with_unit
        from mmbss.visualization.draw_curves import draw_accuracy_over_fraction
        from mmbss.visualization.style import save_figure

        accuracies = accuracies_by_fraction(args.work_dirs, args.metric)
        save_figure(draw_accuracy_over_fraction(accuracies, with_unit(args.metric)), args.out)
    print(f'written to {args.out}')


if __name__ == '__main__':
    main()
