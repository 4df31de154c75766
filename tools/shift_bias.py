r"""Shift the biases of classes that the training set lacked, or of the only ones it had.

    python tools/shift_bias.py configs/mnist/kd_mlp-1200-to-mlp-800_1xb256-100e_mnist-without-3.py \
        work_dirs/kd_mlp-1200-to-mlp-800_1xb256-100e_mnist-without-3/epoch_100.pth --classes 3

Several checkpoints, such as those of several seeds, are each shifted by a number of their own; the
table then gives the mean, the standard deviation (n - 1) and the single values.

One number is added to the biases of all the given classes (Hinton et al. 2015, section 3). It is
the one with the fewest errors on the config's held_out_dataloader: training images, with all
classes, that the network was not trained on. The one with the fewest errors on the test set is
printed beside it for comparison with results that were tuned so. The checkpoint that is written
has the shift of the held-out images.
"""

import argparse

from mmbss.engine.cli.flags import new_file
from mmbss.engine.commands import new_parser
from mmbss.engine.errors import readable_errors


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('config', help='config file with a held_out_dataloader')
    parser.add_argument('checkpoints', nargs='+', help='checkpoints of networks that it trained')
    parser.add_argument('--classes', type=int, nargs='+', required=True, help='classes to shift')
    parser.add_argument(
        '--out',
        type=new_file,
        help='checkpoint to write, of one (default: *_shifted.pth beside it)',
    )
    args = parser.parse_args()
    if args.out is not None and len(args.checkpoints) > 1:
        parser.error('--out is for one checkpoint: leave it out to write *_shifted.pth beside each')
    return args


def main() -> None:
    """Choose, report and save."""
    args = parse_args()
    with readable_errors():
        from mmbss.report.bias_shift import shift_networks

        table, written = shift_networks(args.config, args.checkpoints, args.classes, args.out)
        print(table + '\n'.join(f'written to {out}' for out in written))


if __name__ == '__main__':
    main()
