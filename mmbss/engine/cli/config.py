"""From the command line to a config and its runner."""

import argparse
import logging
import traceback
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from mmbss.engine.build import check_known
from mmbss.engine.config_checks import TOP_LEVEL, check_outdated
from mmbss.engine.errors import ConfigError, MissingFileError, one_line
from mmbss.engine.files.parsing import PARSING


def find_config(path: str) -> str:
    """Path of a config that may be named as ``package::folder/name.py``.

    Raises:
        MissingFileError: If no package has it.
    """
    if '::' not in path:
        return path
    try:
        return Config._get_cfg_path(path, '')[0]
    except (AssertionError, FileNotFoundError, ModuleNotFoundError, ValueError) as error:
        raise MissingFileError(
            f'no config {path!r}: give a path, or package::folder/name.py of an installed package'
        ) from error


def load_config(path: str) -> Config:
    """Read a config file, see :func:`find_config`.

    Raises:
        ConfigError: In one line with the file and what is wrong with it.
    """
    cfg = read_config(find_config(path))
    check_outdated(cfg)  # before defaults take the place of what is missing
    return cfg


def read_config(path: str, where: str = 'config') -> Config:
    """Read a file that is a config, of a teacher perhaps.

    Args:
        path: Of the file.
        where: Where it was named.

    Raises:
        ConfigError: In one line with the file and what is wrong with it.
    """
    try:
        with PARSING:
            return Config.fromfile(path)
    except Exception as error:  # a config file is code, which may raise anything
        lines = [
            f' (line {line} of {frame.f_code.co_filename})'
            for frame, line in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_filename.endswith('.py') and frame.f_code.co_name == '<module>'
        ]
        to_do = 'correct the file or its path'
        if isinstance(error, RecursionError):
            to_do = '_base_ may go round in a circle'
        if isinstance(error, FileNotFoundError) and 'model-index.yml' in str(error):
            to_do = 'install the package that a base names, mmbss itself by `pip install -e .`'
        raise ConfigError(
            f'{where} {path}: {type(error).__name__}: {one_line(error)}{"".join(lines[-1:])}: '
            f'{to_do}'
        ) from error


def merge_common_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Write launcher, work dir and data loader defaults into the config."""
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if not isinstance(loader, dict):
            continue
        loader.setdefault('collate_fn', dict(type='default_collate'))
        loader.setdefault('pin_memory', torch.cuda.is_available())
        loader.setdefault('persistent_workers', True)
        if args.no_pin_memory:
            loader['pin_memory'] = False


def section(cfg: Config, name: str, flag: str) -> ConfigDict:
    """The part of a config that a flag of the command line changes.

    Raises:
        ConfigError: If there is none.
    """
    if not isinstance(cfg.get(name), dict):
        raise ConfigError(
            f'{flag} needs a {name} in the config, got {name}={cfg.get(name)}: add it'
        )
    return cfg[name]


def merge_amp(cfg: Config, args: argparse.Namespace) -> None:
    """Write ``--amp`` into the config of a training: float16 on a GPU, bfloat16 on a CPU."""
    if not args.amp:
        return
    wrapper = section(cfg, 'optim_wrapper', '--amp')
    if torch.cuda.is_available():
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        wrapper.type = 'mmbss.CPUAmpOptimWrapper'
        unused = {key: wrapper.pop(key) for key in ('loss_scale', 'dtype') if key in wrapper}
        if unused:
            said = ', '.join(f'optim_wrapper.{key}={value!r}' for key, value in unused.items())
            print_log(
                f'{said} not used: --amp on a CPU is bfloat16 without a scale',
                'current',
                logging.WARNING,
            )


def check_scaled_rate(cfg: Config) -> None:
    """Refuse to scale a learning rate with batches of which an update takes several.

    mmengine counts one batch of each process, so the rate would be too low.

    Raises:
        ConfigError: What to do instead.
    """
    scaling, wrapper = cfg.get('auto_scale_lr') or {}, cfg.get('optim_wrapper') or {}
    counts = wrapper.get('accumulative_counts', 1) if isinstance(wrapper, dict) else 1
    if isinstance(scaling, dict) and scaling.get('enable') and counts != 1:
        raise ConfigError(
            f'auto_scale_lr.enable=True counts one batch an update, but optim_wrapper'
            f'.accumulative_counts={counts}: set optim_wrapper.optimizer.lr yourself, or leave one '
            'of the two out'
        )


def merge_options(cfg: Config, args: argparse.Namespace) -> None:
    """Write ``--cfg-options`` into the config, which have the last word.

    Raises:
        ConfigError: If one goes to a name that nobody reads, or to no place in the config.
    """
    if args.cfg_options is not None:
        names = {key.split('.')[0]: value for key, value in args.cfg_options.items()}
        check_known(names, {*cfg, *TOP_LEVEL}, '--cfg-options: the config')
        try:
            cfg.merge_from_dict(args.cfg_options)
        except (KeyError, TypeError) as error:
            options = ' '.join(f'{key}={value}' for key, value in args.cfg_options.items())
            raise ConfigError(
                f'--cfg-options {options} do not fit the config: {one_line(error)}: correct the '
                'path of the key'
            ) from error
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        # torch refuses workers that persist where there are none
        if isinstance(cfg.get(name), dict) and not cfg[name].get('num_workers'):
            cfg[name].persistent_workers = False
