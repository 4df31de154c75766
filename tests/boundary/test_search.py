from types import SimpleNamespace

import pytest
import torch

from mmbss.attacks import BSSAttack
from mmbss.boundary.sampling import target_probabilities
from mmbss.boundary.search import BoundarySearch

CLASSES = 5


@pytest.fixture
def teacher():
    """A linear teacher whose inputs are twice the student's."""
    weight = torch.randn(CLASSES, 12)
    return SimpleNamespace(
        logits=lambda inputs: inputs.flatten(1) @ weight.T,
        from_student=lambda inputs: 2 * inputs,
        to_student=lambda inputs: inputs / 2,
        pixel_bounds=(torch.tensor(-50.0), torch.tensor(50.0)),
    )


@pytest.fixture
def batch(teacher):
    """Inputs, logits of student and teacher, labels; both are right on two thirds at most."""
    inputs = torch.randn(24, 3, 2, 2)
    teacher_logits = teacher.logits(teacher.from_student(inputs))
    labels = teacher_logits.argmax(dim=1)
    student_logits = teacher_logits + 0.1 * torch.randn(24, CLASSES)
    labels[:4] = (labels[:4] + 1) % CLASSES
    student_logits[20:] = -student_logits[20:]
    return inputs, student_logits, teacher_logits, labels


def search(**changes):
    settings = dict(
        attack=BSSAttack(num_steps=30, step='newton', step_size=1.0, overshoot=0.01),
        base_samples='disagreement',
        num_base_samples=6,
        target_class='probability',
        min_target_probability=0.0,
        train_on='all',
        bounds=None,
    )
    return BoundarySearch(**{**settings, **changes})


def test_samples_come_back_in_the_students_units_with_the_teachers_logits(teacher, batch):
    found = search()(teacher, *batch)
    assert len(found.inputs) == 6
    assert found.weights is None
    logits = teacher.logits(teacher.from_student(found.inputs))
    torch.testing.assert_close(logits, found.teacher_logits)
    assert found.statistics['bss_samples'] == 6


@pytest.mark.parametrize(
    ('base_samples', 'count'), [('disagreement', 6), ('random', 6), ('all', 16)]
)
def test_base_samples_are_as_many_as_asked(teacher, batch, base_samples, count):
    found = search(base_samples=base_samples)(teacher, *batch)
    assert found.statistics['bss_samples'] == len(found.inputs) == count


def test_all_classes_are_attacked_with_their_probabilities(teacher, batch):
    inputs, _, teacher_logits, labels = batch
    calls = []
    attack = BSSAttack(num_steps=30, step='newton', step_size=1.0, overshoot=0.01)

    def recorded(model, samples, base, target, bounds):
        calls.append((samples, base, target))
        return BSSAttack.run(attack, model, samples, base, target, bounds)

    attack.run = recorded
    found = search(attack=attack, base_samples='all', target_class='all')(teacher, *batch)
    ((samples, base, target),) = calls
    expected = []
    for row in range(4, 20):
        probabilities = target_probabilities(teacher_logits[row, None], labels[row, None])[0]
        for k in range(CLASSES):
            if k != labels[row]:
                expected.append((row, k, probabilities[k]))
    assert len(samples) == len(found.inputs) == len(expected) == 16 * (CLASSES - 1)
    rows, classes, weights = map(list, zip(*expected, strict=True))
    assert torch.equal(samples, 2 * inputs[rows])
    assert torch.equal(base, labels[rows])
    assert target.tolist() == classes
    torch.testing.assert_close(found.weights, torch.stack(weights))
    torch.testing.assert_close(found.weights.sum(), torch.tensor(16.0))
    assert found.statistics['bss_samples'] == 16


def test_weights_follow_the_samples_that_are_kept(teacher, batch):
    attack = BSSAttack(num_steps=1, step='newton', step_size=1.0, overshoot=0.01)
    settings = dict(attack=attack, base_samples='all', target_class='all')
    whole = search(**settings)(teacher, *batch)
    accepted = search(**settings, train_on='accepted')(teacher, *batch)
    assert 0 < len(accepted.inputs) < len(whole.inputs), 'the case must hold rejected samples'
    assert torch.equal(accepted.weights, whole.weights[kept_of(whole, accepted)])
    assert accepted.statistics == whole.statistics


def kept_of(whole, part):
    """Rows of the one that the other has kept."""
    return [
        next(i for i, sample in enumerate(whole.inputs) if torch.equal(sample, kept))
        for kept in part.inputs
    ]


def test_improbable_classes_are_left_out(teacher, batch):
    settings = dict(base_samples='all', target_class='all')
    whole = search(**settings)(teacher, *batch)
    some = search(**settings, min_target_probability=0.2)(teacher, *batch)
    assert 0 < len(some.inputs) < len(whole.inputs)
    assert torch.equal(some.weights, whole.weights[whole.weights > 0.2])


@pytest.mark.parametrize('target_class', ['probability', 'uniform', 'second_most_probable', 'all'])
@pytest.mark.parametrize('count', [0, 1])
def test_few_candidates_are_no_trouble(teacher, batch, target_class, count):
    inputs, student_logits, teacher_logits, labels = batch
    labels = torch.where(torch.arange(24) < 4 + count, labels, (labels + 1) % CLASSES)
    found = search(target_class=target_class)(
        teacher, inputs, student_logits, teacher_logits, labels
    )
    assert found.statistics['bss_samples'] == count
    assert len(found.inputs) == count * (CLASSES - 1 if target_class == 'all' else 1)
    assert found.inputs.shape[1:] == inputs.shape[1:]
    assert found.teacher_logits.shape == (len(found.inputs), CLASSES)


def test_a_threshold_that_no_class_reaches_leaves_nothing(teacher, batch):
    inputs, student_logits, _, labels = batch
    flat = torch.zeros(24, CLASSES).scatter(1, labels.unsqueeze(1), 5.0)
    found = search(target_class='all', min_target_probability=0.5)(
        teacher, inputs, student_logits, flat, labels
    )
    assert len(found.inputs) == 0
    assert found.statistics['bss_samples'] == 6


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(base_samples='some'),
            "base_samples must be 'disagreement', 'random' or 'all', got 'some'",
        ),
        (
            dict(target_class='second'),
            "target_class must be 'probability', 'uniform', 'second_most_probable' or 'all', "
            "got 'second'",
        ),
        (dict(train_on='rejected'), "train_on must be 'accepted' or 'all', got 'rejected'"),
        (dict(num_base_samples=0), 'num_base_samples must be at least 1, got 0'),
        (
            dict(target_class='all', min_target_probability=1.0),
            'min_target_probability must be at least 0 and below 1, got 1.0',
        ),
        (
            dict(min_target_probability=0.1),
            "min_target_probability is for target_class='all', but .* is 'probability'",
        ),
        (dict(bounds=(1.0, -1.0)), r'bounds must be \(lowest, highest\), got \(1.0, -1.0\)'),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        search(**changes)


def test_samples_stay_within_the_bounds_where_the_other_normalisation_rounds(teacher, batch):
    teacher.from_student = lambda inputs: 2 * inputs * (1 + 1e-6)
    attacked = []
    attack = BSSAttack(num_steps=1, step_size=1e-9)
    attack.run = lambda *args: attacked.append(args[1]) or BSSAttack.run(attack, *args)
    inputs, *logits, labels = batch
    search(attack=attack)(teacher, torch.full_like(inputs, 25.0), *logits, labels)
    assert attacked[0].max() == 50
