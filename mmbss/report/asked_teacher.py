"""A teacher of any kind as a classifier, so that it is measured as its students are."""

from typing import Any

import torch
from mmpretrain.models import BaseClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.distillers import Teacher
from mmbss.distillers.sources.load import kind_of
from mmbss.report.classifiers import Network, load_classifier


class AskedTeacher(BaseClassifier):
    """Answers images as they are prepared for a student of the teacher.

    Args:
        teacher: Who is asked.
        data_preprocessor: That of the student for whom the teacher was built.
    """

    def __init__(self, teacher: Teacher, data_preprocessor: nn.Module) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.teacher = teacher
        self.num_classes = teacher.num_classes

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> Any:
        """(N, K) logits, or with ``mode='predict'`` the samples with their predictions."""
        logits = self.teacher.logits(self.teacher.from_student(inputs))
        if mode == 'tensor':
            return logits
        samples = data_samples or [DataSample() for _ in logits]
        for sample, scores in zip(samples, logits.float().softmax(dim=1), strict=True):
            sample.set_pred_score(scores).set_pred_label(scores.argmax().unsqueeze(0))
        return samples

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Its logits, for want of features that every teacher has."""
        return self(inputs)


def load_teacher(teacher: Network, student_preprocessor: nn.Module) -> BaseClassifier:
    """A teacher as a classifier, in eval mode, on a GPU if there is one.

    Args:
        teacher: Arguments of a :class:`~mmbss.distillers.Teacher`.
        student_preprocessor: Prepares the images, unless the teacher is one of mmpretrain, whose
            own does.

    Raises:
        MissingFileError: If its config or checkpoint does not exist.
        ConfigError: If they do not fit.
    """
    given = {key for key, value in teacher.items() if value is not None}
    if given == {'config', 'checkpoint'} and kind_of(teacher['config'])[0] == 'openmmlab':
        return load_classifier(teacher, 'teacher')
    asked = AskedTeacher(
        Teacher(**teacher, student_preprocessor=student_preprocessor), student_preprocessor
    )
    return asked.to('cuda' if torch.cuda.is_available() else 'cpu').eval()
