import pytest
import torch
from torch import nn

from mmbss.attacks import BSSAttack, NewtonAttack, SegmentAttack
from mmbss.visualization.boundary_pairs import (
    find_boundary_pairs,
    most_probable_others,
    spread_over_classes,
)

NEWTON = NewtonAttack(step_size=1.0, overshoot=1e-4)


@pytest.fixture
def linear():
    """Class k has the k-th coordinate as its logit."""
    layer = nn.Linear(3, 3, bias=False)
    layer.weight.data = torch.eye(3)
    return layer.requires_grad_(False).eval()


SAMPLES = torch.tensor([[3.0, 2, 0], [2.0, 0, 1], [0.0, 3, 1], [9.0, 1, 0]])
LABELS = torch.tensor([0, 0, 1, 2])


def test_right_samples_end_on_the_boundary_to_their_strongest_rival(linear):
    pairs = find_boundary_pairs(linear, SAMPLES, LABELS, NEWTON)
    assert pairs.base.tolist() == [0, 1, 0]
    assert pairs.target.tolist() == [1, 2, 2]
    # classes take turns, and the wrong one is left out
    assert torch.equal(pairs.base_samples, SAMPLES[[0, 2, 1]])
    expected = torch.tensor([[2.5, 2.5, 0], [0.0, 2, 2], [1.5, 0, 1.5]])
    assert torch.allclose(pairs.boundary_samples, expected, atol=1e-3)


def test_an_attack_between_two_samples_gets_them(linear):
    pairs = find_boundary_pairs(linear, SAMPLES, LABELS, SegmentAttack())
    assert (pairs.base != pairs.target).all()
    logits = linear(pairs.boundary_samples)
    gap = logits.gather(1, torch.stack([pairs.base, pairs.target], dim=1)).diff()
    assert gap.abs().max() < 0.2


def test_rivals_are_ranked_by_a_plain_sort():
    logits, labels = torch.randn(20, 5), torch.randint(5, (20,))
    for row, others in enumerate(most_probable_others(logits, labels, 3).tolist()):
        values = logits[row].tolist()
        wrong = [label for label in range(5) if label != labels[row]]
        assert others == sorted(wrong, key=lambda label: -values[label])[:3]


def test_students_have_to_be_right_too(linear):
    def student(samples):
        return linear(samples) * torch.tensor([1.0, 0.1, 1.0])

    pairs = find_boundary_pairs(linear, SAMPLES, LABELS, NEWTON, students=[student])
    assert torch.equal(pairs.base_samples, SAMPLES[:2])


def test_a_part_of_the_pairs(linear):
    pairs = find_boundary_pairs(linear, SAMPLES, LABELS, NEWTON)[:2]
    assert len(pairs) == len(pairs.base) == len(pairs.boundary_samples) == 2


@pytest.mark.parametrize('count', [0, 1])
def test_no_common_sample_is_refused(linear, count):
    with pytest.raises(ValueError, match=f'none of {count} samples .* by the teacher: take more'):
        find_boundary_pairs(linear, SAMPLES[3:][:count], LABELS[3:][:count], NEWTON)
    with pytest.raises(ValueError, match='by the teacher and all students'):
        find_boundary_pairs(linear, SAMPLES, LABELS, NEWTON, students=[lambda x: -linear(x)])


def test_an_attack_that_accepts_nothing_is_refused(linear):
    feeble = BSSAttack(num_steps=1, step_size=0.01)
    with pytest.raises(ValueError, match='BSSAttack accepts none of 3 samples'):
        find_boundary_pairs(linear, SAMPLES, LABELS, feeble)


def test_the_order_is_that_of_a_plain_count():
    labels = torch.randint(4, (30,))
    order = spread_over_classes(labels).tolist()
    assert sorted(order) == list(range(30))
    seen = [labels[:row].tolist().count(labels[row].item()) for row in order]
    assert seen == sorted(seen)
