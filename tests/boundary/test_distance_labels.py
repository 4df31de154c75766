import pytest
import torch

from mmbss.boundary.distance_labels import (
    DEPTH,
    boundary_distances,
    boundary_logits,
    decision_logits,
    distance_logits,
)
from mmbss.engine.errors import ConfigError
from mmbss.losses import kd_loss

CLASSES = 4


@pytest.fixture
def linear():
    """A linear teacher, and 30 samples of it."""
    weight = torch.randn(CLASSES, 6)
    return weight, torch.randn(30, 6)


def loop_distances(weight, sample, end, other):
    """Where a linear teacher first decides for a class on a line: the margins over all are >= 0."""
    way = end - sample
    logits, slopes = weight @ sample, weight @ way
    shares = [
        float((logits[j] - logits[other]) / (slopes[other] - slopes[j]))
        for j in range(CLASSES)
        if j != other and logits[j] > logits[other]
    ]
    return max(shares) * float(way.norm())


def test_distances_are_those_of_a_linear_teacher(linear):
    weight, samples = linear
    # one sample of each class, so that it is known which one is the partner
    decisions = (samples @ weight.T).argmax(dim=1)
    samples = torch.stack([samples[(decisions == k).nonzero()[0, 0]] for k in range(CLASSES)])
    logits = samples @ weight.T
    distances = boundary_distances(lambda points: points @ weight.T, samples, logits, 20)
    for n in range(CLASSES):
        assert distances[n, n].isnan()
        for k in set(range(CLASSES)) - {n}:
            expected = loop_distances(weight, samples[n], samples[k], k)
            assert distances[n, k] == pytest.approx(expected, abs=1e-4)


def test_of_two_classes_the_margin_is_that_of_a_linear_teacher(linear):
    weight, samples = linear
    weight = weight[:2] - weight[:2].mean(dim=0)
    logits = samples @ weight.T
    decisions = logits.argmax(dim=1)
    # all lines run along the normal of the boundary
    normal = weight[0] - weight[1]
    across = samples - 2 * ((samples @ normal) / (normal @ normal)).unsqueeze(1) * normal
    for n in range(10):
        pair = torch.stack([samples[n], across[n]])
        of_pair = pair @ weight.T
        distances = boundary_distances(lambda points: points @ weight.T, pair, of_pair, 20)
        margin = logits[n, decisions[n]] - logits[n, 1 - decisions[n]]
        expected = margin / normal.norm()
        torch.testing.assert_close(distances[0, 1 - decisions[n]], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('num_passes', [1, 4])
def test_the_teacher_is_asked_for_each_class_of_the_batch_that_is_not_the_samples_own(
    linear, num_passes
):
    weight, samples = linear
    logits = samples @ weight.T
    present = logits.argmax(dim=1) != 3
    samples, logits = samples[present], logits[present]
    asked = []

    def decide(points):
        asked.append(len(points))
        assert not torch.is_grad_enabled()
        return decision_logits(points @ weight.T)

    distances = boundary_distances(decide, samples, decision_logits(logits), num_passes)
    kinds = len(set(logits.argmax(dim=1).tolist()))
    assert asked == [len(samples) * (kinds - 1)] * num_passes
    assert distances[:, 3].isnan().all()
    assert (distances.isfinite().sum(dim=1) == kinds - 1).all()


def test_without_another_class_nothing_is_known_and_nobody_asked():
    logits = torch.tensor([[1.0, 0.0]]).repeat(3, 1)
    distances = boundary_distances(None, torch.zeros(3, 2), logits)
    assert distances.isnan().all()
    soft = distance_logits(distances, logits.argmax(dim=1))
    assert torch.equal(soft, torch.tensor([[0.0, -DEPTH]]).repeat(3, 1))


def test_logits_are_the_written_formula():
    distances = torch.rand(6, CLASSES) + 0.1
    base = torch.tensor([0, 1, 2, 3, 0, 1])
    distances[5] = torch.nan
    distances[0, 3] = torch.nan
    known = [
        float(distances[n, k])
        for n in range(5)
        for k in range(4)
        if k != base[n] and (n, k) != (0, 3)
    ]
    mean = sum(known) / len(known)
    soft = distance_logits(distances, base)
    for n in range(6):
        for k in range(CLASSES):
            own = [float(d) for j, d in enumerate(distances[n]) if j != base[n] and not d.isnan()]
            distance = float(distances[n, k])
            if distances[n, k].isnan():
                distance = max(own) if own else max(known)
            expected = 0 if k == base[n] else -DEPTH * distance / mean
            assert soft[n, k] == pytest.approx(expected, rel=1e-4)
    assert torch.equal(soft.argmax(dim=1), base)


def test_a_nearer_class_is_more_probable_and_the_boundary_is_a_tie():
    soft = distance_logits(torch.tensor([[torch.nan, 0.0, 1.0, 2.0]]), torch.tensor([0]))
    assert soft[0, 0] == soft[0, 1] > soft[0, 2] > soft[0, 3]
    flat = distance_logits(torch.zeros(2, 3), torch.tensor([0, 1]))
    assert flat.isfinite().all()


def test_logits_at_the_boundary_are_equal_for_the_two_classes():
    soft = boundary_logits(torch.tensor([1, 0]), torch.tensor([2, 3]), 4)
    assert soft.tolist() == [[-DEPTH, 0, 0, -DEPTH], [0, -DEPTH, -DEPTH, 0]]
    assert boundary_logits(torch.tensor([], dtype=torch.int64), torch.tensor([]), 4).shape == (0, 4)


def test_a_student_learns_from_decisions_without_labels(make_distiller, make_batch):
    term = dict(type='mmbss.DistanceLabelLoss', loss=dict(type='mmbss.KDLoss'), loss_weight=2.0)
    distiller = make_distiller(type='mmbss.Distiller', losses=dict(loss_distance=term))
    inputs, samples = make_batch([0] * 12)
    with torch.no_grad():
        for parameter in distiller.teacher.network.parameters():
            parameter.mul_(3)
    decisions = distiller.teacher(inputs).argmax(dim=1)
    assert len(decisions.unique()) > 1, 'the teacher must see several classes'
    torch.manual_seed(3)
    losses = distiller.loss(inputs, samples)
    kinds = len(decisions.unique())
    assert losses['distance_queries'] == 12 * (kinds - 1) * 6
    torch.manual_seed(3)
    teacher = distiller.teacher
    distances = boundary_distances(teacher.logits, inputs.clamp(min=0), teacher(inputs))
    expected = 2 * kd_loss(distiller(inputs), distance_logits(distances, decisions), 3.0)
    torch.testing.assert_close(losses['loss_distance'], expected)
    losses['loss_distance'].backward()
    assert all(parameter.grad.isfinite().all() for parameter in distiller.parameters())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_passes=0), 'num_passes'),
        (dict(loss=dict(type='mmbss.KDLoss', loss_weight=2.0)), 'set loss_weight of the term'),
        (
            dict(loss=dict(type='mmbss.DistanceLabelLoss', loss=dict(type='mmbss.KDLoss'))),
            'no loss',
        ),
    ],
)
def test_what_cannot_be_is_refused(make_distiller, changes, message):
    term = dict(type='mmbss.DistanceLabelLoss', loss=dict(type='mmbss.KDLoss'))
    with pytest.raises(ConfigError, match=message):
        make_distiller(type='mmbss.Distiller', losses=dict(loss_distance=dict(term, **changes)))
