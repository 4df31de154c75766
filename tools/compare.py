r"""Run several configs over several seeds and write one table.

    python tools/compare.py configs/kd/kd_*_digits.py configs/bss/bss_*_digits.py \
        --teacher configs/baseline/resnet14_1xb64-30e_digits.py --seeds 0 1 2 --jobs 2

Every run goes through tools/train.py in a process of its own. Runs that are done are skipped,
interrupted ones resumed. The figure of a run is that of its last epoch, never of its best; the
table gives the mean and the standard deviation (n - 1) over the seeds. It is printed and written
to WORK_DIR/compare.md and compare.json, with a plot in compare.svg.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.engine.extras import named_extra

TRAIN = Path(__file__).resolve().with_name('train.py')


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', help='config files to compare')
    parser.add_argument(
        '--teacher',
        help='config to train first and once, into work_dirs/<its name>, where the distilling '
        'configs look for their teacher',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=1, help='runs at the same time')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'))
    parser.add_argument('--metric', default='accuracy/top1', help='metric of the table')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for all but the teacher'
    )
    return parser.parse_args()


def compare(args: argparse.Namespace) -> None:
    """Run and compare.

    Raises:
        ConfigError: If a run cannot be trained, after the table of the others is written.
    """
    from mmbss.report.run_logs import by_experiment
    from mmbss.report.runs import Run, check_runs, finish, finish_all
    from mmbss.report.tables import accuracy_markdown, accuracy_rows
    from mmbss.visualization.draw_curves import draw_accuracies
    from mmbss.visualization.style import save_figure

    runs = [
        Run(config, seed, args.work_dir / Path(config).stem / f'seed_{seed}', (*args.cfg_options,))
        for config in args.configs
        for seed in args.seeds
    ]
    check_runs(runs)
    threads = max((os.cpu_count() or 1) // args.jobs, 1)
    teachers = []
    if args.teacher:
        teacher = Run(args.teacher, args.seeds[0], Path('work_dirs') / Path(args.teacher).stem)
        teachers.append(finish(teacher, args.metric, TRAIN, threads))
    logged, errors = finish_all(runs, args.metric, TRAIN, threads, args.jobs)
    rows = accuracy_rows([*by_experiment(teachers), *by_experiment(logged)], args.metric)
    if rows:
        table = accuracy_markdown(rows, args.metric)
        args.work_dir.mkdir(parents=True, exist_ok=True)
        (args.work_dir / 'compare.md').write_text(table)
        (args.work_dir / 'compare.json').write_text(json.dumps([*map(asdict, rows)], indent=2))
        values = {row.name: row.values for row in rows}
        figure = draw_accuracies(values, f'{args.metric}, last epoch')
        save_figure(figure, args.work_dir / 'compare.svg')
        print(f'\n{table}\nwritten to {args.work_dir}/compare.md, compare.json and compare.svg')
    if errors:
        raise ConfigError(*errors)


def main() -> None:
    """Run and compare."""
    args = parse_args()
    with readable_errors(), named_extra():
        compare(args)


if __name__ == '__main__':
    main()
