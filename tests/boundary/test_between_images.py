"""Base classes of the teacher, partners, decisions, and how often the teacher is asked."""

from functools import partial

import pytest
import torch

from mmbss.attacks import ChosenMixAttack, NewtonAttack, RandomMixAttack, SegmentAttack
from mmbss.boundary import find_boundary_samples
from mmbss.boundary.distance_labels import DEPTH
from mmbss.engine.errors import ConfigError

CLASSES = 5


class Service:
    """A teacher that is a plain function without gradient, and counts the inputs it gets."""

    def __init__(self, says='logits'):
        self.weight = torch.randn(CLASSES, 12, generator=torch.Generator().manual_seed(1))
        self.says = says
        self.count = 0

    def __call__(self, inputs):
        assert not inputs.requires_grad
        self.count += len(inputs)
        logits = torch.from_numpy(inputs.flatten(1).numpy() @ self.weight.T.numpy())
        if self.says == 'class':
            return torch.nn.functional.one_hot(logits.argmax(dim=1), CLASSES).log()
        return logits


@pytest.fixture
def inputs():
    return torch.randn(24, 3, 2, 2)


search = partial(find_boundary_samples, base_class='teacher', num_base_samples=6)


def lies_between(found, inputs, pool, teacher):
    """Whether each sample is on a line from its base sample to one of the pool of another class."""
    classes = teacher(pool).argmax(dim=1)
    for sample, row, label in zip(found.inputs, found.rows, found.labels, strict=True):
        start = inputs[row].flatten()
        on_a_line = False
        for end in pool[classes != label].flatten(1):
            way, step = end - start, sample.flatten() - start
            share = step @ way / (way @ way)
            on_a_line |= bool((step - share * way).norm() < 1e-4 and -1e-4 < share < 1 + 1e-4)
        if not on_a_line:
            return False
    return True


@pytest.mark.parametrize(
    ('attack', 'passes'),
    [(SegmentAttack(5), 5), (RandomMixAttack(), 1), (ChosenMixAttack(num_passes=3), 3)],
    ids=lambda value: type(value).__name__,
)
def test_a_plain_function_is_asked_as_often_as_the_statistics_say(inputs, attack, passes):
    teacher = Service()
    found = search(teacher, inputs, None, attack)
    assert found.statistics['samples'] == 6
    assert found.statistics['queries'] == teacher.count == 24 + 6 * passes
    assert found.statistics['steps'] == 0
    assert lies_between(found, inputs, inputs, teacher)
    torch.testing.assert_close(teacher(found.inputs), found.teacher_logits)
    logits, before = teacher(inputs), teacher.count
    found = search(teacher, inputs, None, attack, teacher_logits=logits)
    assert found.statistics['queries'] == teacher.count - before == 6 * passes


def test_queries_of_other_attacks_are_counted_too(inputs):
    weight = Service().weight
    asked = []

    def teacher(points):
        asked.append(len(points))
        return points.flatten(1) @ weight.T

    found = search(teacher, inputs, None, NewtonAttack())
    assert found.statistics['queries'] == sum(asked)


def test_the_base_class_is_the_teachers_decision(inputs):
    teacher = Service()
    decisions = teacher(inputs).argmax(dim=1)
    wrong = (decisions + 1) % CLASSES
    for labels in (None, wrong):
        found = search(teacher, inputs, labels, SegmentAttack(), base_samples='all')
        assert found.statistics['samples'] == 24
        assert torch.equal(found.labels, decisions[found.rows])
        assert (found.teacher_logits.argmax(dim=1) != found.labels).all()
    assert search(teacher, inputs, wrong, SegmentAttack(), base_class='label').labels.shape == (0,)


def test_candidates_all_are_attacked_whatever_they_are(inputs):
    teacher = Service()
    labels = (teacher(inputs).argmax(dim=1) + 1) % CLASSES
    settings = dict(base_class='label', candidates='all', base_samples='all')
    mixed = search(teacher, inputs, labels, RandomMixAttack(), **settings)
    assert mixed.rows.tolist() == list(range(24))
    assert torch.equal(mixed.labels, labels)
    # a sample that the teacher puts elsewhere starts beyond the boundary of its class
    moved = search(teacher, inputs, labels, SegmentAttack(), **settings)
    assert moved.statistics['samples'] == 24
    assert moved.statistics['accepted'] == 0


def test_a_batch_of_one_class_has_no_boundary_between_its_images(inputs):
    teacher = Service()
    same = inputs[:1].expand(5, -1, -1, -1)
    found = search(teacher, same, None, SegmentAttack())
    assert found.statistics['samples'] == 0
    assert found.statistics['queries'] == teacher.count == 5
    assert found.inputs.shape == (0, 3, 2, 2)
    assert found.teacher_logits.shape == (0, CLASSES)


@pytest.mark.parametrize('says', ['logits', 'class'])
def test_with_decisions_alone_the_two_classes_at_the_boundary_are_equal(inputs, says):
    expected = search(Service(), inputs, None, SegmentAttack(), base_samples='all')
    teacher = Service(says)
    torch.manual_seed(0)
    found = search(teacher, inputs, None, SegmentAttack(), base_samples='all', teacher_says='class')
    assert found.statistics['queries'] == teacher.count
    assert len(found.inputs) > 15
    assert all(value.isfinite() for value in found.statistics.values())
    reached = Service()(found.inputs).argmax(dim=1)
    for logits, base, other in zip(found.teacher_logits, found.labels, reached, strict=True):
        assert logits[base] == logits[other] == 0
        assert sorted(logits.tolist()) == [-DEPTH] * (CLASSES - 2) + [0, 0]
    assert expected.statistics['samples'] == found.statistics['samples']


def test_with_decisions_alone_a_rejected_sample_has_one_class(inputs):
    labels = (Service()(inputs).argmax(dim=1) + 1) % CLASSES
    settings = dict(base_class='label', candidates='all', teacher_says='class', train_on='all')
    found = search(Service(), inputs, labels, SegmentAttack(), **settings)
    decisions = Service()(found.inputs).argmax(dim=1)
    assert torch.equal(found.inputs, inputs[found.rows]), 'they do not start in their base class'
    assert torch.equal(found.teacher_logits == 0, torch.eye(CLASSES)[decisions] == 1)


def test_the_student_is_asked_where_the_attack_wants_it(inputs):
    teacher, attack = Service(), ChosenMixAttack('disagreement')
    found = search(teacher, inputs, None, attack, ask_student=lambda points: teacher(-points))
    assert len(found.inputs) == 6
    with pytest.raises(ConfigError, match='give ask_student'):
        search(teacher, inputs, None, attack)


def test_a_teacher_in_training_mode_is_refused(inputs):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, CLASSES))
    with pytest.raises(ConfigError, match='training mode'):
        search(network, inputs, None, SegmentAttack())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(base_class='label'), 'set base_class'),
        (dict(base_class='other'), "base_class must be 'label' or 'teacher'"),
        (dict(candidates='some'), 'candidates must be'),
        (dict(candidates='both_correct'), "needs the student's answers"),
        (dict(target_class='probability'), 'moves toward another input'),
        (dict(teacher_says='words'), "teacher_says must be 'logits' or 'class'"),
        (dict(teacher_says='class', attack=RandomMixAttack()), 'SegmentAttack'),
        (dict(teacher_says='class', attack=SegmentAttack(spread=0.1)), 'spread=0'),
        (dict(teacher_says='class', base_samples='disagreement'), "'random' or 'all'"),
    ],
)
def test_what_does_not_go_together_is_refused(inputs, changes, message):
    attack = changes.pop('attack', SegmentAttack())
    with pytest.raises(ConfigError, match=message):
        search(Service(), inputs, None, attack, **changes)
