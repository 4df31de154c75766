r"""Say what a student sees in images: names of classes and their probabilities.

    python tools/predict.py exported/resnet8 photos/ cat.jpg --top 3
    python tools/predict.py configs/kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py photos/ \
        --checkpoint work_dirs/kd/epoch_80.pth

MODEL is a folder of tools/export.py, mmbss://NAME of the zoo, or a config with --checkpoint.
Folders are searched for images through all their folders. An image that cannot be read is named,
and the others go on.
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmbss.engine.cli.interrupts import one_line_at_the_end
from mmbss.engine.commands import new_parser
from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.engine.files.atomic import naming_the_disk, whole_file

if TYPE_CHECKING:  # nothing heavy before the command line is read
    from mmbss.export import Prediction


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument(
        'model', metavar='MODEL', help='folder of tools/export.py, mmbss://NAME, or a config'
    )
    parser.add_argument('images', metavar='IMAGES', nargs='+', help='image files and folders')
    parser.add_argument('--checkpoint', help='weights, where MODEL is a config')
    parser.add_argument('--top', type=int, default=1, metavar='K', help='classes for each image')
    parser.add_argument('--batch-size', type=int, default=32, help='images at once')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write them as JSON')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='also write them as a table')
    return parser.parse_args()


def printable(text: str) -> str:
    """A text in which what the terminal cannot show, such as a name of a file, is escaped."""
    encoding = getattr(sys.stdout, 'encoding', None) or 'utf-8'  # None where it is closed
    return text.encode(encoding, 'backslashreplace').decode(encoding)


def say(text: str, goes_on: bool) -> None:
    """Print a line; where nobody reads on, as after ``| head``, end or go on in silence."""
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not goes_on:
            sys.exit(141)  # what a shell says of SIGPIPE


def write_json(predictions: Sequence['Prediction'], file: Path) -> None:
    """An object for each image, with its classes or its problem."""
    rows = [
        dict(
            image=str(each.path),
            predictions=[dict(label=name, probability=score) for name, score in each.ranked],
            problem=each.problem,
        )
        for each in predictions
    ]
    file.write_text(json.dumps(rows, indent=2) + '\n', encoding='utf-8')


def write_csv(predictions: Sequence['Prediction'], file: Path) -> None:
    """A row for each class that is named for an image."""
    with file.open('w', encoding='utf-8', errors='surrogateescape', newline='') as out:
        writer = csv.writer(out)
        writer.writerow(('image', 'rank', 'label', 'probability', 'problem'))
        for each in predictions:
            for rank, (name, score) in enumerate(each.ranked, start=1):
                writer.writerow((each.path, rank, name, f'{score:.6f}', ''))
            if each.problem:
                writer.writerow((each.path, '', '', '', each.problem))


def check_output(file: Path | None, images: Sequence[Path]) -> None:
    """Refuse to write over an image or a folder; make the folders that a file needs.

    Raises:
        ConfigError: With the file.
    """
    if file is None:
        return
    if file.is_dir() or file.resolve() in {image.resolve() for image in images}:
        raise ConfigError(f'{file} is a folder or one of the images: give another name')
    with naming_the_disk(file):
        file.parent.mkdir(parents=True, exist_ok=True)


def main() -> None:
    """Predict, print and write."""
    args = parse_args()
    with readable_errors(), one_line_at_the_end(lambda: 'no file was written'):
        from mmbss.engine.ranges import check_at_least
        from mmbss.export import find_images, load_predictor

        check_at_least(None, 1, top=args.top, batch_size=args.batch_size)
        paths = find_images(args.images)
        check_output(args.json, paths)
        check_output(args.csv, paths)
        if (
            args.json is not None
            and args.csv is not None
            and args.json.resolve() == args.csv.resolve()
        ):
            raise ConfigError(f'--json and --csv are both {args.json}: give each a file of its own')
        predictor = load_predictor(args.model, args.checkpoint)
        if predictor.assumed:
            print(f'assumed: {predictor.assumed}', file=sys.stderr)
        predictions = []
        for each in predictor(paths, args.top, args.batch_size):
            predictions.append(each)
            said = ', '.join(f'{name} {score:.4f}' for name, score in each.ranked)
            if each.problem:
                print(f'{each.path}: not read: {each.problem}', file=sys.stderr)
            else:
                say(f'{each.path}: {said}', goes_on=args.json is not None or args.csv is not None)
        for file, write in ((args.json, write_json), (args.csv, write_csv)):
            if file is not None:
                with whole_file(file) as part:
                    write(predictions, part)
        if all(each.problem for each in predictions):
            raise ConfigError(f'none of {len(predictions)} images could be read')


if __name__ == '__main__':
    main()
