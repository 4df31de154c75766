"""What every loss between intermediate features takes and returns."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmbss.engine.errors import ConfigError
from mmbss.losses.batch import Batch
from mmbss.losses.term import Term


class FeatureLoss(Term):
    """A loss between features inside student and teacher, which a config names by their paths.

    A path is that of a module in the classifier, as ``named_modules()`` spells it, such as
    ``'backbone.layer2'``, and stands for what the module puts out; ``'backbone.layer2:input'``
    stands for what it gets. Weights that a loss has of its own train with the student, but are
    no part of it.

    Args:
        student: Paths in the student, or one path.
        teacher: As many paths in the teacher.
        loss_weight: See :class:`~mmbss.losses.Term`.

    Raises:
        ConfigError: If the paths are no strings or not equally many.
    """

    def __init__(
        self, student: str | Sequence[str], teacher: str | Sequence[str], loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        self.layers = dict(student=_as_paths(student), teacher=_as_paths(teacher))
        for role, paths in self.layers.items():
            if not paths or not all(isinstance(path, str) for path in paths):
                raise ConfigError(
                    f'{type(self).__name__}: {role} names layers by their paths, such as '
                    f"'backbone.layer2', got {paths}"
                )
        if len(self.layers['student']) != len(self.layers['teacher']):
            raise ConfigError(
                f'{type(self).__name__}: student and teacher must name equally many layers, got '
                f'{len(self.layers["student"])} and {len(self.layers["teacher"])}'
            )

    def forward(
        self,
        student_features: list[Tensor],
        teacher_features: list[Tensor],
        labels: Tensor | None,
    ) -> Tensor:
        """Compute the loss of a batch in float32, multiplied by ``loss_weight``.

        Args:
            student_features: One tensor a path, with the batch first, any floating dtype.
            teacher_features: The same of the teacher; no gradient flows into them.
            labels: (N,) int64 classes; None where the images have no labels; a loss that needs
                them says so with ``needs_labels = True``.

        Returns:
            A float32 scalar.

        Raises:
            ConfigError: If the features have shapes that do not fit each other.
        """
        with torch.autocast(student_features[0].device.type, enabled=False):
            loss = self.compare(
                [feature.float() for feature in student_features],
                [feature.detach().float() for feature in teacher_features],
                labels,
            )
        return self.loss_weight * loss

    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`~mmbss.losses.Term.compute`.

        Raises:
            ConfigError: If a layer of the student has no gradient, or gives (N, H, W, C).
        """
        features = batch.student_features
        frozen = [path for path in self.layers['student'] if not features[path].requires_grad]
        if frozen and torch.is_grad_enabled():
            raise ConfigError(
                f'{type(self).__name__}: {", ".join(frozen)} of the student has no gradient, so '
                'nothing would be learnt there: it may be frozen, or lie within what is computed '
                'anew in the backward pass (with_cp=True)'
            )
        for role, of_role in (('student', features), ('teacher', batch.teacher_features)):
            for path in self.layers[role]:
                check_channels_first(of_role[path], batch.inputs, f'{path} of the {role}')
        loss = self(
            [features[path] for path in self.layers['student']],
            [batch.teacher_features[path] for path in self.layers['teacher']],
            batch.labels,
        )
        return loss, {}

    @abstractmethod
    def compare(
        self,
        student_features: list[Tensor],
        teacher_features: list[Tensor],
        labels: Tensor | None,
    ) -> Tensor:
        """The loss without its weight; the tensors are float32, and autocast is off.

        Args:
            student_features: One tensor a path, with the batch first.
            teacher_features: The same of the teacher, without gradient.
            labels: See :meth:`forward`.

        Returns:
            A scalar.
        """

    def describe(self, index: int, student: Tensor, teacher: Tensor) -> str:
        """Name the two features of one index and their shapes, for messages."""
        return (
            f'{type(self).__name__}: {self.layers["student"][index]} of the student is '
            f'{_shape(student)}, {self.layers["teacher"][index]} of the teacher {_shape(teacher)}'
        )


def check_channels_first(feature: Tensor, images: Tensor, name: str) -> None:
    """Refuse maps with the channels at the end, as Swin has them, which would be compared wrongly.

    What is known of it is that maps of square images are square.

    Args:
        feature: Of any shape; the batch first.
        images: (N, C, H, W), of which it is.
        name: What to call it in a message.

    Raises:
        ConfigError: If it looks like (N, H, W, C).
    """
    if feature.dim() != 4 or images.dim() != 4 or images.shape[2] != images.shape[3]:
        return
    if feature.shape[1] == feature.shape[2] != feature.shape[3]:
        raise ConfigError(
            f'{name} is {_shape(feature)}, which looks like (N, H, W, C): name a layer that gives '
            '(N, C, H, W), or (N, L, C)'
        )


def to_smaller_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool two maps, (N, C, H, W) or (N, H, W), to the smaller height and width.

    Examples:
        >>> maps = to_smaller_size(torch.zeros(1, 3, 8, 8), torch.zeros(1, 5, 4, 4))
        >>> [tuple(pooled.shape) for pooled in maps]
        [(1, 3, 4, 4), (1, 5, 4, 4)]
    """
    if first.shape[-2:] == second.shape[-2:]:
        return first, second
    height, width = map(min, first.shape[-2:], second.shape[-2:])
    size = (height, width)
    return F.adaptive_avg_pool2d(first, size), F.adaptive_avg_pool2d(second, size)


def _as_paths(paths: str | Sequence[str]) -> list[str]:
    return [paths] if isinstance(paths, str) else list(paths)


def _shape(feature: Tensor) -> str:
    return f'(N, {", ".join(map(str, feature.shape[1:]))})'
