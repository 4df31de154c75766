"""What the command line tools share."""

import argparse
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

#: Errors raised in these modules speak of the config or the data, not of a bug.
EXPLAINED_MODULES = (
    '__main__',  # the tool itself
    'mmbss',
    'mmengine.config',
    'mmengine.registry',
    'mmengine.runner.checkpoint',
    'mmengine.utils.path',
    'mmengine.visualization',
)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every tool with a config and a runner has."""
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument('--amp', action='store_true', help='mixed precision; bfloat16 on a CPU')
    parser.add_argument('--no-pin-memory', action='store_true', help='for little memory')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, such as train_cfg.max_epochs=10 or '
        '"param_scheduler.milestones=[5,8]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # old launchers pass the rank as a flag
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def merge_common_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Write launcher, work dir and data loader defaults into the config."""
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if loader is None:
            continue
        loader.setdefault('collate_fn', dict(type='default_collate'))
        loader.setdefault('pin_memory', torch.cuda.is_available())
        loader.setdefault('persistent_workers', True)
        if args.no_pin_memory:
            loader.pin_memory = False


def merge_amp(cfg: Config, args: argparse.Namespace) -> None:
    """Write ``--amp`` into the config of a training: float16 on a GPU, bfloat16 on a CPU."""
    if args.amp and torch.cuda.is_available():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    elif args.amp:
        cfg.optim_wrapper.type = 'mmbss.CPUAmpOptimWrapper'


def merge_options(cfg: Config, args: argparse.Namespace) -> None:
    """Write ``--cfg-options`` into the config, which have the last word."""
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        # torch refuses workers that persist where there are none
        if cfg.get(name) is not None and not cfg[name].get('num_workers'):
            cfg[name].persistent_workers = False


def build_runner(cfg: Config) -> Runner:
    """Build the runner that the config asks for."""
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


@contextmanager
def readable_errors() -> Iterator[None]:
    """End the program with one line where an error explains what is wrong with the input.

    An error from anywhere else, such as the user's own model, keeps its traceback.
    """
    try:
        yield
    except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if not frame.f_globals.get('__name__', '').startswith(EXPLAINED_MODULES):
            raise
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.exit(f'error: {message}')
