"""A teacher that guesses is noticed before anybody learns from it."""

from collections.abc import Sized
from typing import cast

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmbss.datasets.subsets import spread_rows
from mmbss.distillers import Distiller
from mmbss.distillers.data_samples import class_labels, has_labels
from mmbss.engine.errors import ConfigError
from mmbss.engine.models import unwrap
from mmbss.engine.randomness import unchanged_randomness
from mmbss.engine.ranges import check_at_least
from mmbss.hooks.clean_batches import clean_batches
from mmbss.registry import HOOKS

#: Of the accuracy of decisions that are all alike, which equals that of chance.
ROUNDING = 1e-9


@HOOKS.register_module()
class TeacherAccuracyHook(Hook):
    """Asks the teacher about some training images, and stops a run whose teacher guesses.

    A teacher that does no better than chance has the wrong checkpoint, the wrong normalisation,
    or its classes in another order than the dataset. Models without a teacher are left alone.

    Args:
        num_samples: Training images to ask about, as they go into the training.
        min_accuracy: Share of right answers below which the run stops, in [0, 1]. Default: what
            a guess reaches once in a million times, also one that says frequent classes more often
            or the most frequent one alone; 0 accepts every teacher.

    Raises:
        ConfigError: If an argument is out of range; before training if the teacher guesses, or a
            label is none of its classes.
    """

    def __init__(self, num_samples: int = 512, min_accuracy: float | None = None) -> None:
        check_at_least(self, 1, num_samples=num_samples)
        if min_accuracy is not None and not 0 <= min_accuracy <= 1:
            raise ConfigError(
                f'TeacherAccuracyHook: min_accuracy must lie in [0, 1], got {min_accuracy}'
            )
        self.num_samples = num_samples
        self.min_accuracy = min_accuracy

    def before_train(self, runner: Runner) -> None:
        """Ask the teacher, unless no loss listens to it or the run is a resumed one."""
        model = unwrap(runner.model)
        listens = isinstance(model, Distiller) and len(model.terms) > 0
        if not listens or self.min_accuracy == 0 or runner.iter > 0:
            return
        with unchanged_randomness():
            answers = ask_teacher(model, runner.train_dataloader, self.num_samples)
        if answers is None:
            runner.logger.info('the training images have no labels: the teacher is not examined')
            return
        decisions, labels, classes = answers
        outside = labels[(labels < 0) | (labels >= classes)]
        if len(outside):
            raise ConfigError(
                f'a training image has the label {int(outside[0])}, but the teacher knows the '
                f'classes 0 to {classes - 1}: correct the labels, or take another teacher'
            )
        asked = len(labels)
        accuracy = int((decisions == labels).sum()) / asked
        least = self.min_accuracy
        guesses = least is not None and accuracy < least
        if least is None:
            least = chance_accuracy(decisions, labels, classes)
            guesses = accuracy <= least + ROUNDING and least < 1
        runner.logger.info(f'the teacher knows {accuracy:.1%} of {asked} training images')
        if least >= 1 > accuracy:
            runner.logger.warning(f'{asked} images are too few to tell whether the teacher guesses')
        if guesses:
            said = int(decisions[0])
            alike = f' since it says class {said} of each,' if (decisions == said).all() else ''
            raise ConfigError(
                f'the teacher knows only {accuracy:.1%} of {asked} training images,{alike} where '
                f'{least:.1%} of {classes} classes is the least accepted: check the '
                'checkpoint of model.teacher, its mean and std, its input_size and the order of '
                'the classes, or accept it with default_hooks.teacher_accuracy.min_accuracy=0'
            )


def chance_accuracy(decisions: Tensor, labels: Tensor, classes: int) -> float:
    """Accuracy that decisions which know nothing of the images hardly ever exceed (5 sigma).

    It is 1 or more where they are too few to tell.

    Whoever says the frequent classes more often is right more often. What decisions and labels
    agree in by chance, and its variance: Fleiss, Cohen and Everitt, Psychological Bulletin 1969.

    Args:
        decisions: (N,) int64.
        labels: (N,) int64; where they are all one, classes are taken to be equally frequent.
        classes: How many there are.
    """
    count = len(labels)
    said, true = (each.bincount(minlength=classes).double() / count for each in (decisions, labels))
    if true.max() == 1:
        said = true = torch.full_like(true, 1 / classes)
    chance = (said * true).sum()
    variance = (chance + chance**2 - (said * true * (said + true)).sum()) / count
    return float(chance + 5 * variance.clamp(min=0).sqrt())


def ask_teacher(
    model: Distiller, source: DataLoader, samples: int
) -> tuple[Tensor, Tensor, int] | None:
    """Decisions of the teacher and labels, (N,) int64 each, and the number of classes.

    The images are spread evenly over the training set; None where they have no labels.
    """
    rows = spread_rows(len(cast(Sized, source.dataset)), samples)
    decisions, labels, classes = [], [], 0
    for inputs, data_samples in clean_batches(model, source, rows):
        if not has_labels(data_samples):
            return None
        logits = model.teacher(inputs)
        classes = logits.shape[1]
        decisions.append(logits.argmax(dim=1))
        labels.append(class_labels(data_samples))
    return torch.cat(decisions), torch.cat(labels), classes
