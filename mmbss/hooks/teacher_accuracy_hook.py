"""A teacher that guesses is noticed before anybody learns from it."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Subset

from mmbss.distillers import Distiller
from mmbss.distillers.distiller import class_labels
from mmbss.engine.errors import ConfigError
from mmbss.engine.trial import unchanged_randomness
from mmbss.registry import HOOKS


@HOOKS.register_module()
class TeacherAccuracyHook(Hook):
    """Asks the teacher about some training images, and stops a run whose teacher guesses.

    A teacher that does no better than chance has the wrong checkpoint, the wrong normalisation,
    or its classes in another order than the dataset. Models without a teacher are left alone.

    Args:
        num_samples: Training images to ask about, as they go into the training.
        min_accuracy: Share of right answers below which the run stops, in [0, 1]. Default: what
            a guess reaches once in a million times; 0 accepts every teacher.

    Raises:
        ValueError: If an argument is out of range; before training if the teacher guesses.
    """

    def __init__(self, num_samples: int = 512, min_accuracy: float | None = None) -> None:
        if num_samples < 1:
            raise ConfigError(
                f'TeacherAccuracyHook: num_samples must be at least 1, got {num_samples}'
            )
        if min_accuracy is not None and not 0 <= min_accuracy <= 1:
            raise ConfigError(
                f'TeacherAccuracyHook: min_accuracy must lie in [0, 1], got {min_accuracy}'
            )
        self.num_samples = num_samples
        self.min_accuracy = min_accuracy

    def before_train(self, runner: Runner) -> None:
        """Ask the teacher, unless no loss listens to it or the run is a resumed one."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not isinstance(model, Distiller) or self.min_accuracy == 0 or runner.iter > 0:
            return
        with unchanged_randomness():
            right, asked, classes = ask_teacher(model, runner.train_dataloader, self.num_samples)
        accuracy = right / asked
        least = self.min_accuracy
        if least is None:
            least = chance_accuracy(classes, asked)
        runner.logger.info(f'the teacher knows {accuracy:.1%} of {asked} training images')
        if accuracy < least:
            raise ConfigError(
                f'the teacher knows only {accuracy:.1%} of {asked} training images, where '
                f'{least:.1%} of {classes} classes is the least accepted: check model.teacher'
                '.checkpoint, the mean and std of its data_preprocessor and the order of the '
                'classes, or accept it with default_hooks.teacher_accuracy.min_accuracy=0'
            )


def chance_accuracy(classes: int, samples: int) -> float:
    """Accuracy that a guess among equally frequent classes hardly ever exceeds (5 sigma)."""
    share = 1 / classes
    return min(share + 5 * (share * (1 - share) / samples) ** 0.5, 1.0)


def ask_teacher(model: Distiller, source: DataLoader, samples: int) -> tuple[int, int, int]:
    """Right answers, images and classes, on images spread evenly over the training set."""
    dataset: Any = source.dataset
    size = len(dataset)
    # a loader of its own: that of the training may never end, or must not be advanced
    rows = torch.linspace(0, size - 1, min(samples, size)).round().long().tolist()
    loader = DataLoader(
        Subset(dataset, rows),
        batch_size=64,
        num_workers=source.num_workers,
        collate_fn=source.collate_fn,
    )
    right, classes = 0, 0
    for batch in loader:
        data = model.data_preprocessor(batch, training=True)
        with torch.no_grad():
            logits = model.teacher(data['inputs'])
        classes = logits.shape[1]
        right += int((logits.argmax(dim=1) == class_labels(data['data_samples'])).sum())
    return right, len(rows), classes
