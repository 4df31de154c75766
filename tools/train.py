r"""Train a classifier or distil a student, from a config file.

    python tools/train.py configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py \
        --work-dir work_dirs/bss

The flags are those of mmpretrain's tools/train.py, whose configs run unchanged. Beyond it, this
tool works with num_workers=0, mixes precision on a CPU too (bfloat16), distributes over the
processes of torchrun on a CPU (gloo), and says on one screen what it is about to do; the log file
has the environment, the whole config and all else.
"""

import argparse
import os
import sys
from importlib.util import find_spec

from mmengine.config import Config

from mmbss.engine.cli.flags import add_common_arguments
from mmbss.engine.cli.interrupts import one_line_at_the_end
from mmbss.engine.commands import new_parser, this_command
from mmbss.engine.errors import ConfigError, readable_errors

#: Trackers of experiments by the names of mmengine's backends for them.
TRACKERS = dict(
    tensorboard='TensorboardVisBackend',
    wandb='WandbVisBackend',
    mlflow='MLflowVisBackend',
    clearml='ClearMLVisBackend',
    neptune='NeptuneVisBackend',
    dvclive='DVCLiveVisBackend',
    aim='AimVisBackend',
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('config', help='config file')
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint, without one from the latest in the work dir',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate while training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size'
    )
    parser.add_argument(
        '--no-persistent-workers', action='store_true', help='start new data workers every epoch'
    )
    parser.add_argument(
        '--track',
        nargs='+',
        choices=TRACKERS,
        default=[],
        metavar='TRACKER',
        help=f'log to these too, of {", ".join(TRACKERS)}; see docs/how-to/report.md',
    )
    return parser.parse_args()


def merge_args(cfg: Config, args: argparse.Namespace) -> None:
    """Write the command line into the config."""
    from mmbss.engine.cli.config import (
        check_scaled_rate,
        merge_amp,
        merge_common_arguments,
        merge_options,
        section,
    )

    merge_common_arguments(cfg, args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    merge_amp(cfg, args)
    if args.resume == 'auto':
        # load_from holds where there is nothing to go on from, in the way that the config says
        if cfg.get('resume') is not True or has_checkpoint(cfg):
            cfg.resume = 'auto'
    elif args.resume is not None:
        cfg.update(resume=True, load_from=args.resume)
    if args.auto_scale_lr:
        section(cfg, 'auto_scale_lr', '--auto-scale-lr').enable = True
    if args.no_persistent_workers:
        for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if cfg.get(name) is not None:
                cfg[name].persistent_workers = False
    for tracker in args.track:
        if find_spec(tracker) is None:  # each is called as its package
            raise ConfigError(f'--track {tracker}: it is not installed: pip install {tracker}')
        visualizer = section(cfg, 'visualizer', '--track')
        backends = visualizer.get('vis_backends') or []
        # mmengine refuses two of a kind; a config's own has the settings
        kinds = [each.get('type') if isinstance(each, dict) else each for each in backends]
        if TRACKERS[tracker] not in [str(kind).removeprefix('mmengine.') for kind in kinds]:
            visualizer.vis_backends = [*backends, dict(type=TRACKERS[tracker])]
    merge_options(cfg, args)
    check_scaled_rate(cfg)


def train(args: argparse.Namespace) -> None:
    """Train."""
    from mmbss.engine.cli.config import load_config
    from mmbss.engine.cli.screen import short_screen
    from mmbss.engine.cli.start import start_in_words
    from mmbss.engine.config_checks import build_runner, named_start
    from mmbss.engine.default_hooks import add_safety_hooks
    from mmbss.engine.processes.cpu import prepare_cpu_distributed
    from mmbss.engine.processes.this_process import check_launcher
    from mmbss.engine.resume import choose_checkpoint
    from mmbss.engine.trial.training import try_training
    from mmbss.engine.work_dir import claimed_work_dir

    cfg = load_config(args.config)
    merge_args(cfg, args)
    args.merged = cfg
    check_launcher(cfg.launcher)
    prepare_cpu_distributed(cfg)
    add_safety_hooks(cfg)
    with short_screen(), claimed_work_dir(cfg):
        choose_checkpoint(cfg)
        runner = build_runner(cfg)
        try_training(runner)
        runner.logger.info(f'this training\n{start_in_words(runner)}')
        with named_start():
            runner.train()


def how_to_go_on(args: argparse.Namespace) -> str | None:
    """What to do after an interruption, which the first of several processes says."""
    from mmbss.engine.processes.this_process import is_first_process

    flags, found = sys.argv[1:], has_checkpoint(getattr(args, 'merged', None))
    if found or args.resume == 'auto':  # where there is a log and no checkpoint, that is refused
        flags = [
            flag
            for before, flag in zip(['', *flags], flags, strict=False)
            if not (flag.startswith('--resume') or (before == '--resume' and flag == args.resume))
        ]
    what = 'go on from the last checkpoint' if found else 'there is no checkpoint yet: begin again'
    if args.launcher != 'none':
        words = f'{what} with the same command {"and" if found else "without"} --resume'
        return words if is_first_process(args.launcher) else None
    return f'{what} with: {this_command(*flags, *["--resume"] * found)}'


def has_checkpoint(cfg: Config | None) -> bool:
    """Whether a training has written a checkpoint into its folder, which may not be read yet."""
    from mmbss.engine.resume import checkpoint_folder, own_checkpoints, templates_of

    if cfg is None:
        return False
    folder = checkpoint_folder(cfg)
    return folder is None or any(own_checkpoints(folder, templates_of(cfg)))


def main() -> None:
    """Read the command line and train."""
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with readable_errors(), one_line_at_the_end(lambda: how_to_go_on(args)):
        train(args)


if __name__ == '__main__':
    main()
