from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from mmbss.attacks import BSSAttack, ClosestAttack, NewtonAttack, SegmentAttack
from mmbss.boundary import BoundaryLoss, find_boundary_samples
from mmbss.engine.errors import ConfigError

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


def test_an_attack_that_counts_what_it_accepts_is_refused(teacher, batch):
    class Counting(NewtonAttack):
        def run(self, *args):
            found = super().run(*args)
            return replace(found, success=found.success.long())

    with pytest.raises(ConfigError, match=r'Counting returns success of torch\.int64'):
        search(attack=Counting(), train_on='accepted')(teacher, **batch)


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


@pytest.mark.parametrize('kind', ['bss', 'newton', 'closest'])
def test_a_gradient_that_is_nan_moves_no_sample(kind):
    def teacher(inputs):
        # the gradient of the root at 0 is infinite, and NaN times 0
        size = inputs.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return linear((inputs / (size + 1e-6)).flatten(1))

    linear = nn.Linear(48, 3).eval()
    inputs = torch.rand(8, 3, 4, 4)
    inputs[0] = 0
    attack = dict(bss=BSSAttack(), newton=NewtonAttack(), closest=ClosestAttack())[kind]
    found = find_boundary_samples(
        teacher, inputs, None, attack, base_class='teacher', train_on='all', bounds=(0.0, 1.0)
    )
    assert len(found.rows) == 8
    assert found.inputs.isfinite().all()
    assert found.teacher_logits.isfinite().all()
    assert all(value.isfinite() for value in found.statistics.values())


def test_a_teacher_that_changes_its_inputs_is_refused():
    linear = nn.Linear(4, 3).eval()
    inputs = torch.rand(8, 4)
    for given in (None, linear(inputs).detach()):
        with pytest.raises(ConfigError, match='changes its inputs in place'):
            find_boundary_samples(
                lambda points: linear(points.sub_(0.5)),
                inputs.clone(),
                None,
                SegmentAttack(),
                teacher_logits=given,
                base_class='teacher',
            )


def test_mistakes_at_the_front_door_are_named():
    linear = nn.Linear(4, 3).eval()
    inputs, attack = torch.rand(8, 4), NewtonAttack()
    labels = linear(inputs).argmax(dim=1)

    @torch.no_grad()
    def closed(points):
        return linear(points)

    with pytest.raises(ConfigError, match='have no gradient'):
        find_boundary_samples(closed, inputs, labels, attack)
    with pytest.raises(ConfigError, match='inference_mode'), torch.inference_mode():
        find_boundary_samples(linear, inputs, labels, attack)
    with pytest.raises(ConfigError, match=r'bounds of shape \(3,\) do not go'):
        find_boundary_samples(linear, inputs, labels, attack, bounds=([0.0] * 3, [1.0] * 3))
    with pytest.raises(ConfigError, match='8 inputs need as many labels'):
        find_boundary_samples(linear, inputs, labels[:5], attack)
    with pytest.raises(ConfigError, match='train_on=None'):
        find_boundary_samples(linear, inputs, labels, attack, train_on=None)
    with pytest.raises(ConfigError, match='floating-point'):
        attack(linear, inputs.long(), labels, (labels + 1) % 3)


def test_samples_that_have_no_other_class_are_not_counted():
    logits = torch.full((8, 3), -torch.inf)
    logits[:, 0] = 1.0
    logits[:2, 1] = 0.5

    def teacher(points):
        return logits[: len(points)] + 0 * points.sum(dim=1, keepdim=True)

    labels = torch.zeros(8, dtype=torch.long)
    found = find_boundary_samples(teacher, torch.rand(8, 4), labels, NewtonAttack())
    assert found.statistics['samples'] == 2
