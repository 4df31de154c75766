r"""Test a checkpoint.

    python tools/test.py configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py \
        work_dirs/bss/epoch_80.pth

The flags are those of mmpretrain's tools/test.py. A distiller's config is tested as the plain
student it trains, so its teacher need not be at hand.
"""

import argparse
import copy
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config, ConfigDict

from mmbss.engine.cli.flags import add_common_arguments, check_place
from mmbss.engine.commands import new_parser
from mmbss.engine.errors import ConfigError, readable_errors

if TYPE_CHECKING:  # nothing heavy before the command line is read
    from mmengine.runner import Runner


#: What ``--out`` may hold, and the ends of its name.
OUT_FORMATS = dict(pred=('.pkl', '.pickle'), metrics=('.json', '.yaml', '.yml', '.pkl', '.pickle'))


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_common_arguments(parser)
    parser.add_argument('--out', help='file to write the predictions or metrics to')
    parser.add_argument('--out-item', choices=OUT_FORMATS, help='what --out gets (default: pred)')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='folder to write pictures of predictions to')
    parser.add_argument('--interval', type=int, default=1, help='picture every n-th sample')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a window is shown for')
    parser.add_argument(
        '--tta',
        action='store_true',
        help='average over augmented images: those of tta_pipeline in the config, or else flipped',
    )
    return parser.parse_args()


def check_args(args: argparse.Namespace) -> None:
    """Refuse what would fail, or go unused, after the test.

    Raises:
        ConfigError: With what to give instead.
    """
    if args.out_item is not None and args.out is None:
        raise ConfigError('--out-item says what is written: give the file with --out')
    if args.out is not None:
        formats, out = OUT_FORMATS[args.out_item or 'pred'], Path(args.out)
        if out.suffix not in formats or out.is_dir():
            raise ConfigError(f'--out {out} must be a file that ends in {" or ".join(formats)}')
        check_place(out)
    if args.interval < 1 or args.wait_time < 0:
        raise ConfigError('--interval must be at least 1 and --wait-time at least 0')
    if args.tta and (args.show or args.show_dir):
        raise ConfigError('--tta has several pictures of a sample: leave out --show and --show-dir')
    screens = ('DISPLAY', 'WAYLAND_DISPLAY')
    if args.show and sys.platform == 'linux' and not any(map(os.environ.get, screens)):
        raise ConfigError('--show needs a screen, and DISPLAY is not set: use --show-dir FOLDER')


def merge_args(cfg: Config, args: argparse.Namespace) -> None:
    """Write the command line into the config."""
    from mmbss.engine.cli.config import merge_common_arguments, merge_options, section
    from mmbss.engine.default_hooks import leave_out_hooks
    from mmbss.teachers.classifiers import plain_classifier

    merge_common_arguments(cfg, args)
    cfg.model = plain_classifier(section(cfg, 'model', 'a test'))
    # hooks that steer a distiller have nothing to steer here
    cfg.custom_hooks = []
    cfg.load_from = args.checkpoint
    if args.amp:
        section(cfg, 'test_cfg', '--amp').fp16 = True
    if args.show or args.show_dir is not None:
        if cfg.get('default_hooks') is None:
            cfg.default_hooks = ConfigDict()
        hook = cfg.default_hooks.get('visualization') or ConfigDict(type='VisualizationHook')
        hook.update(enable=True, show=args.show, out_dir=args.show_dir, interval=args.interval)
        hook.update(wait_time=args.wait_time)
        cfg.default_hooks.visualization = hook
        if cfg.get('visualizer') is None:
            cfg.visualizer = ConfigDict(type='UniversalVisualizer')
        elif cfg.visualizer.get('type', 'Visualizer') == 'Visualizer':
            raise ConfigError(
                'visualizer: that of mmengine draws no predictions, as --show and --show-dir do: '
                "set visualizer.type='UniversalVisualizer'"
            )
    merge_options(cfg, args)
    leave_out_hooks(cfg)
    if args.tta:
        add_augmentation(cfg, section(cfg, 'test_dataloader', '--tta').dataset)


def add_augmentation(cfg: Config, dataset: Any) -> None:
    """Let the test see each image several times, and average the scores."""
    from mmbss.engine.words import leaves

    for each in leaves(dataset):
        pipeline = each.get('pipeline') or [dict(type='PackInputs')]
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
        augment = dict(type='TestTimeAug', transforms=[flips, copy.deepcopy(pipeline[-1:])])
        each.pipeline = cfg.get('tta_pipeline') or [*pipeline[:-1], augment]
    wrapper = cfg.get('tta_model') or dict(type='mmpretrain.AverageClsScoreTTA')
    cfg.model = ConfigDict(**wrapper, module=cfg.model)


def load_strictly(runner: 'Runner', checkpoint: str) -> None:
    """Load a checkpoint; mmengine alone would leave weights that do not fit as they were drawn.

    Raises:
        ConfigError: If keys or shapes differ, which it names, a weight is not finite, the classes
            are not those of the test data, or the normalisation is not that of the training.
    """
    from mmbss.engine.config_checks.rules import setting
    from mmbss.engine.files.checkpoint_reading import trained_classes
    from mmbss.engine.finite import non_finite
    from mmbss.engine.trial.sides import Side, compare_sides, side_of
    from mmbss.teachers.trained_normalisation import check_trained_normalisation

    try:
        content = runner.load_checkpoint(checkpoint, strict=True)
    except RuntimeError as error:
        reason = textwrap.shorten(str(error), 600)
        raise ConfigError(f'{checkpoint} does not fit the config: {reason}') from error
    if broken := non_finite(runner.model.state_dict()):
        raise ConfigError(f'{checkpoint} holds NaN or infinity in {broken[0]}')
    trained = Side(checkpoint, trained_classes(content.get('meta')))
    tested = side_of(runner.test_dataloader.dataset, 'test_dataloader.dataset')
    compare_sides([trained, tested], setting(runner.cfg, 'model.head.num_classes'))
    check_trained_normalisation(runner.cfg, runner.model, content.get('meta'), checkpoint)


def test(args: argparse.Namespace) -> None:
    """Test."""
    import mmengine
    from mmengine.evaluator import DumpResults

    from mmbss.engine.cli.config import load_config
    from mmbss.engine.config_checks import build_runner, named_start
    from mmbss.engine.processes.cpu import prepare_cpu_distributed
    from mmbss.engine.processes.this_process import check_launcher

    check_args(args)
    cfg = load_config(args.config)
    merge_args(cfg, args)
    check_launcher(cfg.launcher)
    prepare_cpu_distributed(cfg)
    checkpoint, cfg.load_from = cfg.load_from, None
    runner = build_runner(cfg, training=False)
    load_strictly(runner, checkpoint)
    if args.out and args.out_item != 'metrics':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    with named_start():
        metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        for name, value in metrics.items():
            if hasattr(value, 'tolist'):  # such as a confusion matrix
                metrics[name] = value.tolist()
        mmengine.dump(metrics, args.out)


def main() -> None:
    """Read the command line and test."""
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with readable_errors():
        test(args)


if __name__ == '__main__':
    main()
