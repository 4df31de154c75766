from types import SimpleNamespace

import pytest
import torch

from mmbss.boundary import queries
from mmbss.engine.errors import ConfigError
from mmbss.metrics import TransitionError
from mmbss.metrics.transition_error import transition_curves

CLASSES = 10


def walk(walker, follower, image, target, num_steps, step_size):
    """One walk, as the paper's algorithm has it."""
    image, own, other = image.clone(), [], []
    for _ in range(num_steps):
        image.requires_grad_()
        logits = walker(image)
        (gradient,) = torch.autograd.grad(-logits.log_softmax(dim=1)[0, target], image)
        own.append(float(logits.softmax(dim=1)[0, target]))
        other.append(float(follower(image).softmax(dim=1)[0, target]))
        image = (image - step_size * gradient).detach()
    return own, other


def test_curves_are_those_of_the_algorithm():
    weights = torch.randn(2, 6, 4)
    first, second = (lambda x, w=w: x.flatten(1) @ w for w in weights)
    samples, target = torch.randn(5, 1, 2, 3), torch.tensor([0, 1, 2, 3, 1])
    own, other = transition_curves(first, second, samples, target, 7, 0.3)
    assert own.shape == other.shape == (5, 7)
    for row in range(5):
        expected = walk(first, second, samples[row : row + 1], target[row], 7, 0.3)
        assert own[row].tolist() == pytest.approx(expected[0], abs=1e-5)
        assert other[row].tolist() == pytest.approx(expected[1], abs=1e-5)
    assert (own.diff(dim=1) > 0).all()


@pytest.mark.parametrize('walk_on', ['student', 'teacher'])
def test_the_error_is_that_of_the_formula(walk_on, evaluate, student, digits, digits_teacher):
    metric = TransitionError(
        walk_on, num_targets=None, num_steps=4, step_size=3.0, teacher=digits_teacher, num_samples=6
    )
    metrics = evaluate(metric)
    metric.attach(student, len(digits[1]))
    inputs = student.data_preprocessor(dict(inputs=digits[0], data_samples=digits[1]))['inputs']
    networks = [lambda each: student(each, mode='tensor'), metric.teacher.logits]
    errors, crossed = [], []
    for image in inputs[metric.chosen].split(1):
        decisions = [int(network(image).argmax()) for network in networks]
        if decisions[0] != decisions[1]:
            continue
        for target in set(range(CLASSES)) - {decisions[0]}:
            pair = networks if walk_on == 'student' else networks[::-1]
            own, other = walk(*pair, image, target, 4, 3.0)
            errors.append(sum(abs(a - b) for a, b in zip(own, other, strict=True)) / 4)
            crossed.append(own[-1] > 0.5)
    assert metrics['transition/samples'] == len(errors) / 9 > 2
    assert metrics['transition/error'] == pytest.approx(sum(errors) / len(errors), rel=1e-3)
    assert metrics['transition/crossed'] == pytest.approx(100 * sum(crossed) / len(crossed))
    assert metrics['transition/crossed'] > 0


def test_of_the_teacher_itself_it_is_0(evaluate, teacher_as_student, digits_teacher):
    metrics = evaluate(TransitionError(teacher=digits_teacher, num_samples=10), teacher_as_student)
    assert metrics['transition/error'] == pytest.approx(0, abs=1e-6)
    assert metrics['transition/crossed'] == metrics['transition/followed'] > 0
    assert metrics['transition/samples'] == 10


def test_a_student_that_agrees_on_nothing_is_not_walked_on(
    evaluate, student, digits_teacher, monkeypatch
):
    metric = TransitionError(teacher=digits_teacher, num_samples=5)
    monkeypatch.setattr(metric, 'student_logits', lambda samples: -metric.teacher_logits(samples))
    assert evaluate(metric) == {'transition/samples': 0}


@pytest.mark.parametrize(
    'wrong', [dict(walk_on='both'), dict(num_steps=1), dict(step_size=0.0), dict(num_targets=0)]
)
def test_parameters_out_of_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TransitionError(**wrong)


def test_walks_to_all_classes_are_made_in_parts(evaluate, digits_teacher, monkeypatch):
    config = dict(num_targets=None, num_steps=3, teacher=digits_teacher, num_samples=8)
    expected, asked = evaluate(TransitionError(**config)), []
    monkeypatch.setattr(queries, 'MOST_NUMBERS', 1)
    metric = TransitionError(**config)
    monkeypatch.setattr(
        metric,
        'teacher_logits',
        lambda samples: (
            asked.append(len(samples)) or TransitionError.teacher_logits(metric, samples)
        ),
    )
    assert evaluate(metric) == pytest.approx(expected, rel=1e-5)
    assert max(asked) <= 8


def test_with_one_class_there_is_nowhere_to_walk(monkeypatch):
    metric = TransitionError()
    metric.teacher = SimpleNamespace(from_student=lambda images: images)
    for name in ('student_logits', 'teacher_logits'):
        monkeypatch.setattr(metric, name, lambda images: images.flatten(1)[:, :1])
    walked, _ = metric.measure(torch.rand(2, 1, 2, 2), torch.zeros(2).long(), torch.rand(2))
    assert not walked.any()
