r"""Distil a student from a folder of images: data, teacher, methods, choice, report and export.

    python tools/distil.py data/images --work-dir work_dirs/mine
    python tools/distil.py data/images --teacher timm:resnet50 --student mobilenet_v2 \
        --minutes 120 --work-dir work_dirs/mine

The folder holds CLASS/... or {train,val,test}/CLASS/...; what is missing of val and test is held
out. A teacher of other classes is fine-tuned first. Students are compared on the validation images,
the test images are looked at when the choice is made. The same command goes on where it was
interrupted. See docs/how-to/distil.md.
"""

import argparse
import sys
import time
from pathlib import Path

from mmbss.engine.cli.flags import OptionsAction
from mmbss.engine.cli.interrupts import one_line_at_the_end
from mmbss.engine.commands import new_parser, this_command
from mmbss.engine.errors import readable_errors
from mmbss.engine.extras import named_extra


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('images', type=Path, help='folder of the images')
    parser.add_argument('--work-dir', type=Path, required=True, help='folder of all results')
    parser.add_argument(
        '--teacher',
        help='resnet50 and the like, a config of mmpretrain, or timm:, torchvision:, hf:, python:, '
        'onnx:NAME (default: one for the size of the images, trained on them)',
    )
    parser.add_argument(
        '--teacher-checkpoint',
        metavar='FILE',
        help='its weights; "none": random ones (default: those of its library)',
    )
    parser.add_argument(
        '--teacher-options',
        nargs='+',
        action=OptionsAction,
        default={},
        metavar='KEY=VALUE',
        help='more about a teacher of these classes, such as input_size=224 or '
        'arguments.num_classes=3',
    )
    parser.add_argument(
        '--student',
        help='mobilenet_v2, resnet18, resnet8 and the like, timm:NAME, or a config (default: one '
        'for the size of the images)',
    )
    parser.add_argument(
        '--student-checkpoint',
        metavar='FILE',
        help='weights that its backbone starts from; for timm also "pretrained"; "none": random '
        'ones (default: those that its config names, or none)',
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        default=['labels', 'kd', 'dkd', 'dist', 'segment', 'bss'],
        metavar='METHOD',
        help='what is compared',
    )
    parser.add_argument('--minutes', type=float, default=60.0, help='time for all of it')
    parser.add_argument('--size', type=int, help='pixels on a side (default: as the images)')
    parser.add_argument('--epochs', type=int, help='of each training (default: as many as fit)')
    parser.add_argument(
        '--settings',
        type=int,
        help='temperatures and weights of each method, at most (default: as many as fit)',
    )
    parser.add_argument('--batch-size', type=int, help='images of a step (default: by their size)')
    parser.add_argument('--seed', type=int, default=0, help='of the split and of each training')
    parser.add_argument('--plan', action='store_true', help='say what would be done, and stop')
    parser.add_argument(
        '--rerun', action='store_true', help='put aside what the work dir holds, and begin anew'
    )
    return parser.parse_args()


def distil(args: argparse.Namespace) -> None:
    """Distil.

    Raises:
        ConfigError: If something that was given is at fault.
    """
    begin = time.perf_counter()
    from mmengine.logging import MMLogger

    from mmbss.distil.distil import distil as carry_out
    from mmbss.distil.job import Request

    wanted = {name: value for name, value in vars(args).items() if name not in ('plan', 'rerun')}
    # each step of what comes after the training says what it does
    MMLogger.get_instance('mmengine', log_level='ERROR')
    summary = carry_out(
        Request(**dict(wanted, methods=tuple(args.methods))),
        tools=Path(__file__).resolve().parent,
        command=this_command(*sys.argv[1:]),
        import_seconds=time.perf_counter() - begin,
        rerun=args.rerun,
        plan_only=args.plan,
    )
    if summary is not None:
        print(f'\n{summary}\nwritten to {args.work_dir / "summary.md"}')


def how_to_go_on(args: argparse.Namespace, begin: float) -> str:
    """What to do after an interruption; what was begun anew since ``begin`` is gone on with."""
    from mmbss.distil.state import FILE

    state = args.work_dir / FILE
    is_begun = state.is_file() and state.stat().st_mtime >= begin
    flags = [flag for flag in sys.argv[1:] if flag != '--rerun' or not is_begun]
    return f'go on with: {this_command(*flags)}'


def main() -> None:
    """Read the command line and distil."""
    begin, args = time.time(), parse_args()
    on_interrupt = one_line_at_the_end(lambda: how_to_go_on(args, begin))
    with readable_errors(), on_interrupt, named_extra():
        distil(args)


if __name__ == '__main__':
    main()
