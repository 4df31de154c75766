import numpy as np
import pytest

from mmbss.report.bias_shift import best_shift, count_errors


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('ties', [False, True])
def test_no_shift_leaves_fewer_errors(seed, ties):
    generator = np.random.default_rng(seed)
    samples, num_classes = generator.integers(1, 12), generator.integers(2, 5)
    logits = 2 * generator.normal(size=(samples, num_classes))
    logits = logits.round() if ties else logits
    labels = generator.integers(0, num_classes, samples)
    count = generator.integers(1, num_classes)
    classes = generator.choice(num_classes, count, replace=False).tolist()

    def errors(shift):
        return count_errors(logits, labels, classes, shift)[0]

    chosen = best_shift(logits, labels, classes)
    # no other value than a lead can change the decisions, and none of these is a lead
    others = np.linspace(-15, 15, 3001) + 0.00123
    assert errors(chosen) <= min(errors(shift) for shift in others)


def test_of_equally_good_shifts_the_smallest_is_taken():
    logits = np.array([[0.0, 4.0], [0.0, 6.0], [5.0, 0.0]])
    assert best_shift(logits, np.array([0, 1, 0]), [0]) == 5.0
    assert best_shift(logits, np.array([0, 1, 0]), [1]) == -5.0
    assert best_shift(logits, np.array([1, 1, 0]), [0]) == -0.5
    assert best_shift(np.array([[2.0, 0.0]]), np.array([1]), [1]) == 3.0


def test_errors_are_counted_in_all_and_on_the_classes():
    logits = np.eye(4)[[0, 1, 2, 3, 3]]
    assert count_errors(logits, np.array([0, 1, 3, 3, 2]), [2, 3]) == (2, 2)
    assert count_errors(logits, np.array([1, 1, 2, 3, 2]), [2]) == (2, 1)
