"""A teacher of any kind as a classifier, so that it is measured as its students are."""

from typing import Any

from mmpretrain.models import BaseClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbss.teachers import Teacher


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
