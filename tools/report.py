r"""Write a report of a run or a comparison: one HTML page that needs nothing but itself.

    python tools/report.py work_dirs/studies/digits

It holds the accuracies, curves over the training, decision planes and boundary samples of teacher
and students, similarity and robustness, the configs, versions, and the commands that repeat it.
Call it from where the training was called, since configs name their data and teacher by relative
paths. See docs/how-to/report.md.
"""

import argparse
import sys
from pathlib import Path

from mmbss.engine.cli.flags import new_file
from mmbss.engine.commands import new_parser, this_command
from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.engine.extras import named_extra
from mmbss.report.options import ReportOptions


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    defaults = ReportOptions()
    parser.add_argument(
        'work_dir', type=Path, help='work dir of tools/train.py or tools/compare.py'
    )
    parser.add_argument('--out', type=new_file, help='the page (default: WORK_DIR/report.html)')
    parser.add_argument(
        '--figures', type=Path, metavar='FOLDER', help='also write each picture to a file there'
    )
    parser.add_argument('--format', choices=['svg', 'png', 'pdf'], default='svg', help='of these')
    parser.add_argument('--metric', default=defaults.metric, help='metric of the table')
    parser.add_argument(
        '--num-samples',
        type=int,
        default=defaults.num_samples,
        help='test samples that are attacked',
    )
    parser.add_argument(
        '--num-tested',
        type=int,
        default=defaults.num_tested,
        help='test samples of the metrics without an attack, at most',
    )
    parser.add_argument(
        '--resolution',
        type=int,
        default=defaults.resolution,
        help='grid points on a side of a decision plane',
    )
    parser.add_argument(
        '--metrics',
        type=Path,
        help='what tools/evaluate_boundary.py has written (default: computed)',
    )
    parser.add_argument(
        '--logs-only', action='store_true', help='leave out what needs networks and data'
    )
    return parser.parse_args()


def main() -> None:
    """Write the report."""
    args = parse_args()
    with readable_errors(), named_extra():
        from mmbss.engine.files.atomic import whole_file
        from mmbss.report.report import build_report
        from mmbss.studies.run_logs import read_json
        from mmbss.visualization.style import save_figure

        metrics = read_json(args.metrics) if args.metrics else None
        is_whole = isinstance(metrics, dict) and 'settings' in metrics and metrics.get('networks')
        if args.metrics and not is_whole:
            raise ConfigError(f'--metrics {args.metrics} is no file of tools/evaluate_boundary.py')
        options = ReportOptions(
            metric=args.metric,
            logs_only=args.logs_only,
            num_samples=args.num_samples,
            num_tested=args.num_tested,
            resolution=args.resolution,
            metrics=metrics,
        )
        report = build_report(args.work_dir, options, this_command(*sys.argv[1:]))
        out = args.out or args.work_dir / 'report.html'
        with whole_file(out) as part:
            part.write_text(report.page, encoding='utf-8')
        print(f'written to {out}')
        for pictures in report.pictures.values():
            for picture in pictures if args.figures else ():
                save_figure(picture.figure, args.figures / f'{picture.name}.{args.format}')


if __name__ == '__main__':
    main()
