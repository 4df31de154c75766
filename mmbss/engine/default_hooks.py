"""What tools/train.py adds to every config, so that no run loses what it has done."""

import logging
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.runner import find_latest_checkpoint

from mmbss.engine.checkpoints import check_intact, newest_intact_checkpoint

#: Each is left out where the config sets it to None, and changed where it says otherwise.
SAFETY_HOOKS = dict(
    step_seed=dict(type='mmbss.StepSeedHook'),
    accumulation=dict(type='mmbss.AccumulationHook'),
    finite_loss=dict(type='mmbss.FiniteLossHook'),
    teacher_accuracy=dict(type='mmbss.TeacherAccuracyHook'),
)

#: Names under which mmengine registers hooks of its own.
MMENGINE_HOOKS = (
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
)


def add_safety_hooks(cfg: Config) -> None:
    """Write the hooks that guard a training into its config, as far as it does not name them.

    mmengine's ``CheckpointHook`` becomes :class:`~mmbss.engine.hooks.AtomicCheckpointHook`.
    """
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    checkpoint = hooks.setdefault('checkpoint', ConfigDict(type='CheckpointHook', interval=1))
    if checkpoint is not None and checkpoint.type in ('CheckpointHook', 'mmengine.CheckpointHook'):
        checkpoint.type = 'mmbss.AtomicCheckpointHook'
    for name, hook in SAFETY_HOOKS.items():
        if name not in hooks:
            hooks[name] = ConfigDict(hook)
        elif hooks[name] is not None:
            hooks[name].setdefault('type', hook['type'])
    # mmengine leaves out its own hooks alone where a config sets them to None
    for name in [name for name in hooks if hooks[name] is None and name not in MMENGINE_HOOKS]:
        hooks.pop(name)


def choose_checkpoint(cfg: Config) -> None:
    """Write the checkpoint that a run is to go on from into its config.

    Raises:
        ConfigError: If the one that is named is damaged, or every one in the work dir is.
    """
    if cfg.get('resume') is not True:
        return
    if cfg.get('load_from') is None:
        folder = Path(cfg.work_dir)
        last = find_latest_checkpoint(cfg.work_dir)
        if last is not None and '://' in last:
            return
        # a hook with an out_dir of its own keeps its checkpoints elsewhere
        if last is not None and not (folder / Path(last).name).is_file():
            folder = Path(last).parent
        checkpoint, problems = newest_intact_checkpoint(folder)
        for problem in problems:
            print_log(f'{problem}: going on from an earlier one', 'current', logging.WARNING)
        cfg.resume = checkpoint is not None
        cfg.load_from = None if checkpoint is None else str(checkpoint)
    elif Path(cfg.load_from).is_file():
        check_intact(Path(cfg.load_from))
