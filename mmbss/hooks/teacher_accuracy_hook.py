"""A teacher that guesses is noticed before anybody learns from it."""

from collections.abc import Sized
from typing import cast

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmbss.datasets.subsets import spread_rows
from mmbss.distillers import Distiller
from mmbss.distillers.data_samples import class_labels, has_labels
from mmbss.engine.errors import ConfigError
from mmbss.engine.models import unwrap
from mmbss.engine.randomness import unchanged_randomness
from mmbss.hooks.clean_batches import clean_batches
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
        ConfigError: If an argument is out of range; before training if the teacher guesses.
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
        model = unwrap(runner.model)
        if not isinstance(model, Distiller) or self.min_accuracy == 0 or runner.iter > 0:
            return
        with unchanged_randomness():
            right, asked, classes = ask_teacher(model, runner.train_dataloader, self.num_samples)
        if not asked:
            runner.logger.info('the training images have no labels: the teacher is not examined')
            return
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
    """Right answers, images and classes, on images spread evenly over the training set.

    No images where they have no labels.
    """
    rows = spread_rows(len(cast(Sized, source.dataset)), samples)
    right, classes = 0, 0
    for inputs, data_samples in clean_batches(model, source, rows):
        if not has_labels(data_samples):
            return 0, 0, 0
        logits = model.teacher(inputs)
        classes = logits.shape[1]
        right += int((logits.argmax(dim=1) == class_labels(data_samples)).sum())
    return right, len(rows), classes
