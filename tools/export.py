r"""Hand a trained student over, to whoever has no mmbss.

    python tools/export.py configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py \
        work_dirs/bss/epoch_80.pth --out exported/resnet8

Writes its weights as .safetensors and .pth, its config without teacher and training, its graph for
onnxruntime (.onnx) and torch.export (.pt2), and a model card. The graphs take pixels of 0 to 255
and give logits; each is read again and compared with the student on real test images. The config
of a distiller stands for its student. See docs/how-to/export.md.
"""

import argparse
import os
import sys
from pathlib import Path

from mmbss.engine.cli.interrupts import one_line_at_the_end
from mmbss.engine.commands import new_parser, this_command
from mmbss.engine.errors import ConfigError, readable_errors

FORMATS = ('safetensors', 'pth', 'onnx', 'pt2')


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('config', help='config file of its training')
    parser.add_argument('checkpoint', help='checkpoint file, or mmbss://NAME of the zoo')
    parser.add_argument('--out', type=Path, required=True, help='folder to write, empty or new')
    parser.add_argument(
        '--formats', nargs='+', default=FORMATS, metavar='FORMAT', help=f'of {", ".join(FORMATS)}'
    )
    parser.add_argument(
        '--check-images', type=int, default=256, metavar='N', help='test images to compare with'
    )
    parser.add_argument('--opset', type=int, help="version of ONNX's operators (default: torch's)")
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='NAME',
        help='their names, or a file with one a line (default: those of checkpoint or data)',
    )
    parser.add_argument(
        '--channels', choices=['rgb', 'bgr'], help='their order (default: that of the data)'
    )
    return parser.parse_args()


def named_classes(given: list[str] | None) -> list[str] | None:
    """Names of classes, those in a file where that is what was given.

    Raises:
        ConfigError: If the file is no text.
    """
    # Path's own does not take what is too long for a name
    if not given or len(given) > 1 or not os.path.isfile(given[0]):  # noqa: PTH113
        return given
    try:  # -sig: editors of Windows begin a file with a mark
        return Path(given[0]).read_text(encoding='utf-8-sig').rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f'--classes {given[0]} is no text in UTF-8: {error}') from error


def main() -> None:
    """Export, and say what was written."""
    args = parse_args()
    with readable_errors(), one_line_at_the_end(lambda: f'nothing was written to {args.out}'):
        from mmbss.export import export_student
        from mmbss.export.measures import file_in_words

        figures = export_student(
            args.config,
            args.checkpoint,
            args.out,
            formats=args.formats,
            check_images=args.check_images,
            opset=args.opset,
            classes=named_classes(args.classes),
            channels=args.channels,
            command=this_command(*sys.argv[1:]),
        )
        for name, file in figures['files'].items():
            print(f'{args.out / name}: {file_in_words(file)}')
        print(f'{args.out / "README.md"}: the model card')
        if figures['assumed']:
            print(f'note: {figures["assumed"]}')
        for kind, problem in figures['problems'].items():
            print(f'error: no {kind}: {problem}', file=sys.stderr)
        if figures['problems']:
            sys.exit(1)


if __name__ == '__main__':
    main()
