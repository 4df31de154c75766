"""The student's own classification loss, and its logits as deployed."""

from typing import Any

from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbss.distillers.data_samples import class_labels, has_labels
from mmbss.distillers.token_heads import class_token_loss
from mmbss.engine.errors import ConfigError
from mmbss.teachers.classifiers import num_classes
from mmbss.teachers.features import outputs_of


def classify(
    student: ImageClassifier,
    features: Any,
    data_samples: list[DataSample],
    by_class_token: bool = False,
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Losses of a student's head, its (N, K) logits as deployed, and those that the losses are of.

    Args:
        student: The head is its own.
        features: What its ``extract_feat`` gives.
        data_samples: N samples with their ``gt_label``, or all without.
        by_class_token: Whether the class token of the head is all that learns from the labels.

    Raises:
        ConfigError: If a label lies beyond the classes, labels are missing where the head learns
            from them, or it has no (N, K) logits.
    """
    if not has_labels(data_samples):
        return _without_labels(student, features)
    of_class_token = None
    with outputs_of(student.head) as (deployed, with_labels):
        try:
            if by_class_token:
                losses, of_class_token = class_token_loss(student.head, features, data_samples)
            else:
                losses = student.head.loss(features, data_samples)
        except IndexError as error:
            count = num_classes(student)
            labels = class_labels(data_samples)
            if count is None or (labels.min() >= 0 and labels.max() < count):
                raise
            raise ConfigError(
                f'a label lies beyond the {count} classes of the student ({error}): set '
                'head.num_classes of student and teacher to your classes'
            ) from error
    # heads with a margin, such as ArcFace, tell their logits from those with labels
    logits = _as_logits(student, deployed[0] if deployed else student.head(features))
    if of_class_token is None:
        is_of_margin = not deployed and len(with_labels) == 1 and _are_logits(with_labels[0])
        of_labels = with_labels[0] if is_of_margin else logits
    else:
        of_labels = of_class_token
    # "loss" is the name under which mmengine logs the sum
    losses = {'loss_cls' if k == 'loss' else k: v for k, v in losses.items()}
    return losses, logits, of_labels


def _without_labels(
    student: ImageClassifier, features: Any
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    loss = getattr(student.head, 'loss_module', None)
    if getattr(loss, 'loss_weight', None) != 0:
        raise ConfigError(
            "the training images have no labels, but the head's classification loss needs "
            'them: set model.head.loss.loss_weight=0 to learn from the teacher alone'
        )
    logits = _as_logits(student, student.head(features))
    return dict(loss_cls=(0 * logits).sum()), logits, logits


def _are_logits(output: Any) -> bool:
    return isinstance(output, Tensor) and output.ndim == 2


def _as_logits(student: ImageClassifier, output: Any) -> Tensor:
    if not _are_logits(output):
        raise ConfigError(
            f"the student's {type(student.head).__name__} puts out no (N, K) logits: take a head "
            'with one output, such as LinearClsHead'
        )
    return output
