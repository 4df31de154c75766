from functools import partial

import pytest
import torch

from mmbss.attacks import NewtonAttack, SegmentAttack
from mmbss.boundary import BoundaryLoss, find_boundary_samples

CLASSES = 5


@pytest.fixture
def teacher():
    """A linear teacher, a plain function."""
    weight = torch.randn(CLASSES, 12)
    return lambda inputs: inputs.flatten(1) @ weight.T


@pytest.fixture
def batch(teacher):
    """Inputs, labels and logits; both networks are right on two thirds of the samples at most."""
    inputs = torch.randn(24, 3, 2, 2)
    teacher_logits = teacher(inputs)
    labels = teacher_logits.argmax(dim=1)
    student_logits = teacher_logits + 0.1 * torch.randn(24, CLASSES)
    labels[:4] = (labels[:4] + 1) % CLASSES
    student_logits[20:] = -student_logits[20:]
    return dict(
        inputs=inputs, labels=labels, teacher_logits=teacher_logits, student_logits=student_logits
    )


class Recording(NewtonAttack):
    """Remembers what it was given."""

    def __init__(self, num_steps=30):
        super().__init__(num_steps=num_steps, step_size=1.0, overshoot=0.01)
        self.calls = []

    def run(self, model, samples, base, target, bounds):
        self.calls.append((samples, base, target, bounds))
        return super().run(model, samples, base, target, bounds)


def search(**changes):
    settings = dict(
        attack=Recording(), base_samples='disagreement', num_base_samples=6, train_on='all'
    )
    return partial(find_boundary_samples, **{**settings, **changes})


def test_samples_come_back_with_the_teachers_logits(teacher, batch):
    found = search()(teacher, **batch)
    assert len(found.inputs) == 6
    torch.testing.assert_close(teacher(found.inputs), found.teacher_logits)
    assert torch.equal(found.labels, batch['labels'][found.rows])
    assert not torch.equal(found.inputs, batch['inputs'][found.rows])
    assert found.statistics['samples'] == 6


def test_the_teacher_is_asked_where_its_logits_are_not_known(teacher, batch):
    expected = search(base_samples='all')(teacher, **batch)
    del batch['teacher_logits']
    torch.manual_seed(0)
    found = search(base_samples='all', target_class='second_most_probable')(teacher, **batch)
    assert torch.equal(found.rows, expected.rows)


def test_without_a_student_the_teacher_alone_has_to_be_right(teacher, batch):
    del batch['student_logits']
    found = search(base_samples='all')(teacher, **batch)
    assert found.rows.tolist() == list(range(4, 24))
    assert len(search(base_samples='random')(teacher, **batch).rows) == 6
    with pytest.raises(ValueError, match="needs the student's answers"):
        search()(teacher, **batch)


@pytest.mark.parametrize(
    ('base_samples', 'count'), [('disagreement', 6), ('random', 6), ('all', 16)]
)
def test_base_samples_are_as_many_as_asked(teacher, batch, base_samples, count):
    found = search(base_samples=base_samples)(teacher, **batch)
    assert found.statistics['samples'] == len(found.inputs) == count
    assert ((found.rows >= 4) & (found.rows < 20)).all()


def test_the_bounds_reach_the_attack(teacher, batch):
    attack = Recording()
    found = search(attack=attack, bounds=(-0.5, 0.5))(teacher, **batch)
    assert attack.calls[0][-1] == (-0.5, 0.5)
    assert found.inputs.abs().max() == 0.5


def test_no_gradient_comes_back(teacher, batch):
    batch['inputs'].requires_grad_()
    found = search()(teacher, **batch)
    assert not found.inputs.requires_grad
    assert not found.teacher_logits.requires_grad


@pytest.mark.parametrize('target_class', ['probability', 'second_most_probable'])
@pytest.mark.parametrize('count', [0, 1])
def test_few_candidates_are_no_trouble(teacher, batch, target_class, count):
    labels = batch['labels']
    batch['labels'] = torch.where(torch.arange(24) < 4 + count, labels, (labels + 1) % CLASSES)
    found = search(target_class=target_class)(teacher, **batch)
    assert found.statistics['samples'] == count
    assert list(found.statistics) == list(BoundaryLoss.statistics)
    assert len(found.inputs) == count
    assert found.inputs.shape[1:] == (3, 2, 2)
    assert found.teacher_logits.shape == (len(found.inputs), CLASSES)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(base_samples='some'), "base_samples must be 'disagreement', 'random' or 'all'"),
        (dict(target_class='second'), 'target_class must be'),
        (dict(train_on='rejected'), "train_on must be 'accepted' or 'all', got 'rejected'"),
        (dict(num_base_samples=0), 'num_base_samples must be at least 1, got 0'),
    ],
)
def test_values_out_of_range_are_refused(teacher, batch, changes, message):
    with pytest.raises(ValueError, match=message):
        search(**changes)(teacher, **batch)


@pytest.mark.parametrize('attack', [NewtonAttack(), SegmentAttack()])
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_a_teacher_of_another_type_gets_its_own(attack, dtype):
    network = torch.nn.Linear(4, 3).to(dtype).requires_grad_(False).eval()
    inputs = torch.randn(12, 4, dtype=dtype)
    labels = network(inputs).argmax(dim=1)
    found = find_boundary_samples(network, inputs, labels, attack, base_samples='all')
    assert found.inputs.dtype == dtype
    assert len(found.inputs)
    said = network(found.inputs)
    torch.testing.assert_close(said.float(), found.teacher_logits.float(), rtol=0, atol=1e-5)
