import torch

from mmbss.boundary import queries
from mmbss.boundary.distance_labels import boundary_distances
from mmbss.engine.randomness import own_randomness


class Teacher(torch.nn.Linear):
    """A linear network that remembers how many inputs it was asked about at a time."""

    def __init__(self, classes):
        super().__init__(8, classes)
        self.asked = []

    def forward(self, inputs):
        """Logits."""
        self.asked.append(len(inputs))
        return super().forward(inputs)


def test_lines_to_all_other_classes_are_searched_in_parts(monkeypatch):
    teacher, samples, found = Teacher(12).eval(), torch.randn(16, 8), []
    logits = super(Teacher, teacher).forward(samples)
    others = len(logits.argmax(dim=1).unique()) - 1
    assert others > 2
    for most, expected in ((2**22, 16 * others), (1, 16)):
        monkeypatch.setattr(queries, 'MOST_NUMBERS', most)
        teacher.asked.clear()
        with own_randomness(0):
            found.append(boundary_distances(teacher, samples, logits))
        assert max(teacher.asked) == expected
    torch.testing.assert_close(*found, equal_nan=True)
