r"""Test a checkpoint.

    python tools/test.py configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py \
        work_dirs/bss/epoch_80.pth

The flags are those of mmpretrain's tools/test.py. A distiller's config is tested as the plain
student it trains, so its teacher need not be at hand.
"""

import argparse
import os
import textwrap
from typing import TYPE_CHECKING

from mmengine.config import Config

from mmbss.engine.errors import ConfigError, readable_errors
from mmbss.engine.flags import add_common_arguments

if TYPE_CHECKING:  # nothing heavy before the command line is read
    from mmengine.runner import Runner


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_common_arguments(parser)
    parser.add_argument('--out', help='file to write the predictions or metrics to')
    parser.add_argument(
        '--out-item', choices=['metrics', 'pred'], default='pred', help='what --out gets'
    )
    parser.add_argument('--show-dir', help='folder to write pictures of predictions to')
    parser.add_argument('--interval', type=int, default=1, help='picture every n-th sample')
    return parser.parse_args()


def merge_args(cfg: Config, args: argparse.Namespace) -> None:
    """Write the command line into the config."""
    from mmbss.distillers.classifiers import plain_classifier
    from mmbss.engine.cli import merge_common_arguments, merge_options

    merge_common_arguments(cfg, args)
    cfg.model = plain_classifier(cfg.model)
    # hooks that steer a distiller have nothing to steer here
    cfg.custom_hooks = []
    cfg.load_from = args.checkpoint
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show_dir is not None:
        cfg.default_hooks.visualization.update(
            enable=True, out_dir=args.show_dir, interval=args.interval
        )
    merge_options(cfg, args)


def load_strictly(runner: 'Runner', checkpoint: str) -> None:
    """Load a checkpoint; mmengine alone would leave weights that do not fit as they were drawn.

    Raises:
        ConfigError: If keys or shapes differ; names them.
    """
    try:
        runner.load_checkpoint(checkpoint, strict=True)
    except RuntimeError as error:
        reason = textwrap.shorten(str(error), 600)
        raise ConfigError(f'{checkpoint} does not fit the config: {reason}') from error


def test(args: argparse.Namespace) -> None:
    """Test."""
    import mmengine
    from mmengine.evaluator import DumpResults

    from mmbss.engine.cli import load_config
    from mmbss.engine.config_checks import build_runner
    from mmbss.engine.repairs.cpu_processes import prepare_cpu_distributed

    cfg = load_config(args.config)
    merge_args(cfg, args)
    prepare_cpu_distributed(cfg)
    checkpoint, cfg.load_from = cfg.load_from, None
    runner = build_runner(cfg, training=False)
    load_strictly(runner, checkpoint)
    if args.out and args.out_item == 'pred':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)


def main() -> None:
    """Read the command line and test."""
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with readable_errors():
        test(args)


if __name__ == '__main__':
    main()
