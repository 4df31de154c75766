r"""Compare students with their teacher: agreement, boundaries, calibration, robustness.

    python tools/evaluate_boundary.py \
        --teacher configs/baseline/resnet26_1xb256-80e_cifar10.py \
            work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth \
        --students configs/baseline/resnet8_1xb256-80e_cifar10.py work_dirs/kd/epoch_80.pth \
                   configs/baseline/resnet8_1xb256-80e_cifar10.py work_dirs/bss/epoch_80.pth \
        --names KD BSS --num-samples 1000 --out work_dirs/boundary.json

    python tools/evaluate_boundary.py --runs work_dirs/cifar10-5000 --out work_dirs/boundary.json

    python tools/evaluate_boundary.py --teacher teacher.onnx --teacher-options input_size=32 \
        --students configs/baseline/resnet8_1xb256-80e_cifar10.py work_dirs/kd/epoch_80.pth

Prints a table and writes all figures, also those of each class, to the JSON file. The second form
takes the teacher and all students of a comparison, and the table gives mean and standard deviation
over the seeds. Distances are L2 lengths in images of values in [0, 1], medians over the samples
that student and teacher both classify correctly; the numbers in the names of attacks are radii in
pixels of [0, 255].
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from mmbss.engine.cli.flags import OptionsAction, new_file
from mmbss.engine.commands import new_parser
from mmbss.engine.errors import ConfigError, readable_errors, refuse


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    pair = ('CONFIG', 'CHECKPOINT')
    parser.add_argument(
        '--runs', type=Path, metavar='WORK_DIR', help='of tools/train.py or tools/compare.py'
    )
    parser.add_argument(
        '--teacher',
        nargs='+',
        metavar=pair,
        help='no checkpoint where it brings its weights, such as timm:resnet50 or teacher.onnx',
    )
    parser.add_argument(
        '--teacher-options',
        nargs='+',
        action=OptionsAction,
        default={},
        metavar='KEY=VALUE',
        help='of model.teacher in a config, such as input_size=224 reverse_channels=False',
    )
    parser.add_argument('--students', nargs='+', metavar=pair, help='one or more')
    parser.add_argument('--names', nargs='+', help='of the students (default: the checkpoints)')
    parser.add_argument(
        '--data-config',
        help="config whose test_dataloader is used (default: the teacher's, the first student's "
        "where the teacher is none of mmpretrain, or the runs')",
    )
    parser.add_argument(
        '--num-samples', type=int, default=1000, help='test samples that are attacked or corrupted'
    )
    parser.add_argument(
        '--num-tested',
        type=int,
        metavar='N',
        help='test samples of accuracy, agreement and calibration, at most (default: all)',
    )
    parser.add_argument(
        '--autoattack',
        type=int,
        default=0,
        metavar='N',
        help='test samples that AutoAttack gets as well; takes minutes for a hundred',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the choice of samples and classes')
    parser.add_argument(
        '--attacks',
        help='Python file with `boundary`, the attack whose boundary samples are compared, '
        'or `robustness`, configs of attacks by name, or both (default: BSS; FGSM and PGD)',
    )
    parser.add_argument('--out', type=new_file, help='JSON file to write')
    return parser.parse_args()


def named_students(pairs: list[str], names: list[str] | None) -> dict[str, dict[str, Any]]:
    """Config and checkpoint of each student by its name.

    Raises:
        ConfigError: If a config has no checkpoint, or the names do not fit the students.
    """
    if len(pairs) % 2:
        raise ConfigError(f'--students takes a config and a checkpoint for each, got {pairs}')
    checkpoints = pairs[1::2]
    names = names or checkpoints
    if len({*names} - {'teacher'}) != len(checkpoints) or len(names) != len(checkpoints):
        raise ConfigError(
            f'--names must give each of the {len(checkpoints)} students a name of its own, and '
            f'none "teacher", got {names}'
        )
    return {
        name: dict(config=config, checkpoint=checkpoint)
        for name, config, checkpoint in zip(names, pairs[::2], checkpoints, strict=True)
    }


def choose_networks(
    args: argparse.Namespace,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], str]:
    """The teacher, its students by name, and a config with their test samples.

    Raises:
        ConfigError: If flags are missing or exclude each other, or the runs have not one teacher.
    """
    from mmengine.config import Config

    from mmbss.studies.comparison import read_comparison
    from mmbss.teachers.sources.load import kind_of

    if args.runs:
        if args.teacher or args.students or args.names or args.teacher_options:
            raise ConfigError('--runs takes the place of --students, --names and all of --teacher')
        comparison = read_comparison(args.runs)
        print(''.join(f'{remark}\n' for remark in comparison.remarks), end='')
        students = comparison.student_networks
        if not args.data_config:
            refuse(comparison.differing_tests)
        return comparison.teacher, students, next(iter(students.values()))['config']
    if not (args.teacher and args.students):
        raise ConfigError('give --runs, or both --teacher and --students')
    config, *checkpoint = args.teacher
    if len(checkpoint) > 1:
        raise ConfigError(f'--teacher takes a config and a checkpoint, got {args.teacher}')
    teacher = dict(zip(('config', 'checkpoint'), args.teacher, strict=False))
    students = named_students(args.students, args.names)
    if kind_of(config)[0] != 'openmmlab':  # a teacher from elsewhere has no test samples
        config = args.students[0]
    options = Config()
    options.merge_from_dict(args.teacher_options)  # KEY.SUBKEY
    return {**options.to_dict(), **teacher}, students, config


def main() -> None:
    """Evaluate, print and save."""
    args = parse_args()
    with readable_errors():
        from mmbss.engine.build import check_known
        from mmbss.engine.cli.config import load_config
        from mmbss.report.evaluation import evaluate_networks
        from mmbss.report.networks import loader_of_tests
        from mmbss.studies.metric_tables import markdown_table

        teacher, students, config = choose_networks(args)
        data = load_config(args.data_config or config)
        if data.get('test_dataloader') is None:
            raise ConfigError(f'{data.filename} has no test_dataloader: give --data-config')
        loader = data.test_dataloader
        if args.num_tested is not None:
            loader = loader_of_tests(data, args.num_tested)
        attacks = load_config(args.attacks) if args.attacks else {}
        given = {key: value for key, value in attacks.items() if isinstance(value, dict)}
        check_known(given, ('boundary', 'robustness'), f'--attacks {args.attacks}')
        result = evaluate_networks(
            teacher=teacher,
            students=students,
            dataloader=loader,
            num_samples=args.num_samples,
            seed=args.seed,
            attack=attacks.get('boundary'),
            attacks=attacks.get('robustness'),
            autoattack_samples=args.autoattack,
            store=partial(write, args.out),
        )
        print(markdown_table(result))
        if args.out:
            print(f'written to {args.out}')


def write(out: Path | None, result: dict[str, Any]) -> None:
    """Write what there is so far, where a file is asked for."""
    from mmbss.engine.files.atomic import whole_file

    if out is not None:
        text = json.dumps(result, indent=2, default=str)  # a config may name a class itself
        with whole_file(out) as part:
            part.write_text(text)


if __name__ == '__main__':
    main()
