"""Computes the teacher's logits on the training set once and stores them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.engine.hooks import SwitchRecipeHook
from torch import Tensor
from torch.utils.data import DataLoader

from mmbss.distillers import Distiller
from mmbss.distillers.of_runner import distiller_of
from mmbss.engine.errors import ConfigError
from mmbss.engine.randomness import unchanged_randomness
from mmbss.hooks.clean_batches import clean_batches
from mmbss.registry import HOOKS
from mmbss.teachers.logit_cache import LogitCache, fingerprints, sample_rows


@HOOKS.register_module()
class TeacherCacheHook(Hook):
    """Answers the clean training samples from a file instead of with the teacher.

    Before training, the samples are passed once through the teacher where there is no file yet,
    and once more to compare each with the one whose logits are stored; where there was a file, the
    teacher is asked about a batch and its answers are compared. So a run whose inputs are
    augmented, whose data have changed or whose teacher is another one ends before it starts. A
    part of a training set may use the file of the whole one. An attack still asks the teacher.

    Args:
        file: Path of the ``.npz`` file, read without pickle.

    Raises:
        ConfigError: Before training, if the model is no distiller, the file belongs to another
            teacher or other data, or the inputs are augmented.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        if self.file.suffix != '.npz':
            raise ConfigError(f'TeacherCacheHook: file must end in .npz, got {file!r}')
        lowest = next(path for path in self.file.absolute().parents if path.exists())
        if self.file.is_dir() or not lowest.is_dir():
            raise ConfigError(
                f'TeacherCacheHook: file={file!r} is a folder, or lies in what is none: name '
                'another file'
            )

    def before_train(self, runner: Runner) -> None:
        """Make the file if there is none, check it and give it to the teacher."""
        model = distiller_of(runner, 'TeacherCacheHook')
        if model.batch_augments is not None:
            raise ConfigError(
                f'TeacherCacheHook, {self.file}: the cache needs a sample to be the same every '
                'time, but train_cfg mixes them (mixup, CutMix): train without augmentation, so '
                'without train_cfg.augments, or without the cache'
            )
        for hook in runner.hooks:
            recipes = hook.schedule.values() if isinstance(hook, SwitchRecipeHook) else ()
            if any(each.get('batch_augments') or each.get('train_pipeline') for each in recipes):
                raise ConfigError(
                    f'TeacherCacheHook, {self.file}: the cache needs a sample to be the same every '
                    'time, but SwitchRecipeHook brings batch_augments or a train_pipeline: leave '
                    'out one of the two'
                )
        teacher = model.teacher.identity
        patient = patient_group()
        # training goes on with the random numbers it would have without the cache
        with unchanged_randomness():
            made = is_main_process() and not self.file.is_file()
            if made:
                compute_cache(model, runner.train_dataloader, teacher).save(self.file)
                runner.logger.info(f'stored the logits of the teacher in {self.file}')
            barrier(patient)
            cache = LogitCache.load(self.file)
            if cache.teacher != teacher:
                raise ConfigError(
                    f'{self.file} holds the logits of another teacher, or of this one under '
                    'another config: remove it or name another file'
                )
            is_compared = made
            try:
                for inputs, data_samples in clean_batches(model, runner.train_dataloader):
                    stored = cache.look_up(inputs, data_samples)
                    if not is_compared:
                        check_answers(stored, model.teacher(inputs))
                        is_compared = True
            except ConfigError as error:
                if made:
                    self.file.unlink()
                raise ConfigError(f'TeacherCacheHook, {self.file}: {error}') from error
        model.teacher.cache = cache


def patient_group() -> Any:
    """All processes, which wait for each other as long as it takes; NCCL gives up after minutes."""
    if not is_distributed():
        return None
    return torch.distributed.new_group(timeout=timedelta(days=30), backend='gloo')


def check_answers(stored: Tensor, answers: Tensor) -> None:
    """Refuse stored logits that the teacher does not give.

    Its identity may not tell: that of a function is its name. Another device or precision rounds
    otherwise, which is allowed.

    Args:
        stored: (N, K) float32.
        answers: (N, K) of the teacher to the same inputs.

    Raises:
        ConfigError: If they differ by more than a tenth of the largest.
    """
    answers = answers.float()
    same_shape = stored.shape == answers.shape
    if not same_shape or (stored - answers).abs().max() > 0.1 * answers.abs().max():
        raise ConfigError(
            'the teacher does not give the logits that are stored, so they are of another one: '
            'remove the file or name another'
        )


def compute_cache(model: Distiller, source: DataLoader, teacher: str) -> LogitCache:
    """Ask the teacher about every sample; ``teacher`` is its identity."""
    rows, logits, prints = [], [], []
    for inputs, data_samples in clean_batches(model, source):
        rows.append(sample_rows(data_samples))
        logits.append(model.teacher(inputs).float().cpu())
        prints.append(fingerprints(inputs).cpu())
    ascending, order = torch.cat(rows).sort(stable=True)
    return LogitCache(ascending, torch.cat(logits)[order], torch.cat(prints)[order], teacher)
