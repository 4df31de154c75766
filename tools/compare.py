r"""Run a study, or several configs, over several seeds, and write tables, plot and tests.

    python tools/compare.py studies/mechanism.py --jobs 2
    python tools/compare.py configs/kd/kd_*_digits.py configs/bss/bss_*_digits.py \
        --teacher configs/baseline/resnet14_1xb64-30e_digits.py --seeds 0 1 2 --jobs 2

A study is a file with arms, seeds and the contrast that decides: docs/how-to/studies.md. Every run
goes through tools/train.py in a process of its own. After each of them the results are written: of
a study to studies/results/NAME.json, .md and .svg, of configs to WORK_DIR/compare.*. Runs whose
results are there are skipped, interrupted ones resumed. The figure of a run is that of its last
epoch, never of its best; tables give the mean and the standard deviation (n - 1) over the seeds.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mmbss.engine.cli.flags import OptionsAction
from mmbss.engine.commands import new_parser
from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.engine.extras import named_extra

if TYPE_CHECKING:  # nothing heavy before the command line is read
    from mmbss.studies.runs import Run
    from mmbss.studies.study import Study


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('files', nargs='+', help='one study, or config files to compare')
    parser.add_argument('--jobs', type=int, default=1, help='runs at the same time')
    parser.add_argument('--arms', nargs='+', help='run these arms alone (default: all)')
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        help='run these alone (default: those of the study; of configs 0 1 2)',
    )
    parser.add_argument(
        '--no-train', action='store_true', help='read and measure what is finished, train nothing'
    )
    parser.add_argument(
        '--rerun',
        action='store_true',
        help='train anew what was trained with other settings, instead of refusing it; its folder '
        'is put aside',
    )
    parser.add_argument(
        '--results',
        type=Path,
        default=Path('studies/results'),
        metavar='FOLDER',
        help='folder of the results of a study',
    )
    configs = parser.add_argument_group('for config files')
    configs.add_argument(
        '--work-dir', help='folder of runs and results (default: work_dirs/compare)'
    )
    configs.add_argument(
        '--teacher',
        help='config to train first and once, into work_dirs/<its name>, where the distilling '
        'configs look for their teacher',
    )
    configs.add_argument('--metric', help='metric of the table (default: accuracy/top1)')
    configs.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='for all but the teacher',
    )
    return parser.parse_args()


def choose_study(args: argparse.Namespace) -> 'Study':
    """The study that is named, or that of the configs.

    Raises:
        ConfigError: If it cannot be read, or flags do not fit.
    """
    from mmbss.studies.study import is_study, read_study, study_of_configs

    studies = [path for path in args.files if Path(path).is_file() and is_study(path)]
    if studies and len(args.files) > 1:
        raise ConfigError(f'{studies[0]} is a study: give it alone')
    if studies:
        flags = ('work_dir', 'teacher', 'metric', 'cfg_options')
        given = [name for name in flags if getattr(args, name) is not None]
        if given:
            flag = given[0].replace('_', '-')
            raise ConfigError(f'--{flag} is for config files: a study says so in its own file')
        return read_study(args.files[0], args.results)
    return study_of_configs(
        args.files,
        Path(args.work_dir or 'work_dirs/compare'),
        seeds=args.seeds or [0, 1, 2],
        teacher=args.teacher,
        metric=args.metric or 'accuracy/top1',
        common=args.cfg_options or {},
    )


def choose_runs(study: 'Study', args: argparse.Namespace) -> 'list[Run]':
    """The runs of a study that are asked for.

    Raises:
        ConfigError: If the study has no such arm or seed.
    """
    for flag, asked, known in (
        ('--arms', args.arms, [*study.arms]),
        ('--seeds', args.seeds, study.seeds),
    ):
        strange = [each for each in asked or () if each not in known]
        if strange:
            raise ConfigError(f'{flag}: {study.name} has no {strange[0]}, choose among {known}')
    runs = [
        run
        for run in study.runs()
        if run.arm in (args.arms or study.arms) and run.seed in (args.seeds or study.seeds)
    ]
    idle = [name for name in args.arms or () if name not in {run.arm for run in runs}]
    if idle:
        raise ConfigError(
            f'--seeds: {study.name} runs {idle[0]} with the seeds {study.seeds_of(idle[0])} alone'
        )
    return runs


def compare(args: argparse.Namespace) -> None:
    """Run and compare.

    Raises:
        ConfigError: If the study has a mistake; or if runs have failed, after all others.
    """
    from mmbss.studies.runner import StudyRunner

    if args.no_train and args.rerun:
        raise ConfigError('--no-train and --rerun say opposite things: leave one out')
    if args.jobs < 1:
        raise ConfigError(f'--jobs {args.jobs} must be at least 1')
    study = choose_study(args)
    study.check()
    run_all = StudyRunner(
        study=study,
        tools=Path(__file__).resolve().parent,
        jobs=args.jobs,
        threads=max((os.cpu_count() or 1) // args.jobs, 1),
        trains=not args.no_train,
        rerun=args.rerun,
    )
    table = run_all(choose_runs(study, args))
    print(f'\n{table}\nwritten to {study.results}.md, .json and .svg')


def main() -> None:
    """Run and compare."""
    args = parse_args()
    with readable_errors(), named_extra():
        compare(args)


if __name__ == '__main__':
    main()
