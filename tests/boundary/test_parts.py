import pytest
import torch

from mmbss.attacks import ClosestAttack, NewtonAttack
from mmbss.boundary import find_boundary_samples, parts
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


@pytest.fixture
def find(monkeypatch):
    """Search toward all of the other classes from each of a batch of inputs."""
    teacher = Teacher(100).eval()
    inputs = torch.randn(16, 8)
    labels = super(Teacher, teacher).forward(inputs).argmax(dim=1)

    def find(most, attack=None, **search):
        monkeypatch.setattr(parts, 'MOST_NUMBERS', most)
        teacher.asked.clear()
        return find_boundary_samples(
            teacher,
            inputs,
            labels,
            attack or NewtonAttack(overshoot=0.01),
            **{'target_class': 'all', 'train_on': 'all', **search},
        ), max(teacher.asked)

    return find


@pytest.mark.parametrize('attack', [NewtonAttack(overshoot=0.01), ClosestAttack()], ids=type)
def test_all_pairs_of_many_classes_are_attacked_in_parts(find, attack):
    whole, most = find(2**22, attack)
    assert most == 16 * 99
    divided, most = find(1, attack)
    assert most == 16
    assert len(divided.inputs) == 16 * 99
    for name in ('inputs', 'teacher_logits', 'weights'):
        torch.testing.assert_close(getattr(divided, name), getattr(whole, name))
    assert torch.equal(divided.labels, whole.labels)
    assert torch.equal(divided.rows, whole.rows)
    # each part ends when its own samples have arrived
    assert divided.statistics.pop('queries') <= whole.statistics.pop('queries')
    torch.testing.assert_close(divided.statistics, whole.statistics)


def test_the_last_part_may_be_smaller_and_rejected_samples_are_left_out(find):
    whole, _ = find(2**22, train_on='accepted')
    divided, most = find(8 * 50, train_on='accepted')
    assert most == 50  # of 1,584
    assert torch.equal(divided.rows, whole.rows)
    torch.testing.assert_close(divided.inputs, whole.inputs)


def test_one_target_a_sample_is_attacked_at_once(find):
    _, most = find(1, target_class='second_most_probable')
    assert most == 16


def test_lines_to_all_other_classes_are_searched_in_parts(monkeypatch):
    teacher, samples, found = Teacher(12).eval(), torch.randn(16, 8), []
    logits = super(Teacher, teacher).forward(samples)
    others = len(logits.argmax(dim=1).unique()) - 1
    assert others > 2
    for most, expected in ((2**22, 16 * others), (1, 16)):
        monkeypatch.setattr(parts, 'MOST_NUMBERS', most)
        teacher.asked.clear()
        with own_randomness(0):
            found.append(boundary_distances(teacher, samples, logits))
        assert max(teacher.asked) == expected
    torch.testing.assert_close(*found, equal_nan=True)
