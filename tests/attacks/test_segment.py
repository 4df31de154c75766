from dataclasses import replace

import pytest
import torch
from torch import nn

from mmbss.attacks import BSSAttack, Partners, RandomNoiseAttack, SegmentAttack
from mmbss.attacks.functional import class_lead
from mmbss.attacks.partners import between, partners_in_batch
from mmbss.attacks.root_search import bisect
from mmbss.engine.errors import ConfigError

#: Lines from 0 to 1 along one axis: class 0 before each end, class 1 from there on.
ENDS = torch.tensor([0.01, 0.24, 0.5, 0.77, 0.98])
BASE = torch.zeros(5, dtype=torch.int64)
TARGET = BASE + 1


def decide(points):
    """The class as one-hot logits: that of the second value, where the first is beyond its end."""
    beyond = points[:, 0] >= points[:, 1]
    return nn.functional.one_hot(torch.where(beyond, points[:, 2].long(), 0), 4)


def lines(classes=(1, 1, 1, 1, 1)):
    starts = torch.stack([torch.zeros(5), ENDS, torch.tensor(classes).float()], dim=1)
    ends = starts.clone()
    ends[:, 0] = 1
    return starts, Partners(ends, decide(starts))


@pytest.mark.parametrize('num_passes', [1, 3, 6, 12])
def test_the_sample_is_just_beyond_the_boundary(num_passes):
    starts, partners = lines()
    result = SegmentAttack(num_passes)(decide, starts, BASE, TARGET, partners=partners)
    for row in range(5):
        # the first of the points of the bisection's grid that is not before the end
        grid = torch.arange(1, 2**num_passes + 1) / 2**num_passes
        share = grid[grid >= ENDS[row]][0]
        assert result.success[row] == (share < 1)
        assert result.samples[row, 0] == (share if share < 1 else 0)
    assert torch.equal(result.logits, decide(result.samples).float())
    assert result.steps.sum() == 0


def test_third_classes_are_accepted_as_the_target():
    starts, partners = lines(classes=(1, 2, 3, 1, 1))
    result = SegmentAttack()(decide, starts, BASE, TARGET, partners=partners)
    assert result.success.tolist() == [True, True, True, True, True]
    assert result.target.tolist() == [1, 2, 3, 1, 1]
    assert result.statistics()['third_class'] == 0


def test_no_graph_is_made_and_inference_mode_will_do(network, images):
    def model(points):
        assert not points.requires_grad
        assert not torch.is_grad_enabled()
        return torch.from_numpy(network(points).numpy())

    base, target = network(images).topk(2).indices.T
    with torch.inference_mode():
        SegmentAttack(spread=0.1)(model, images, base, target)
    assert SegmentAttack()(model, images, base, target).success.any()


@pytest.mark.parametrize('certain', [False, True])
def test_decisions_suffice(network, images, certain):
    with torch.no_grad():
        logits = network(images)
    base = logits.argmax(dim=1)
    rows = torch.tensor([int((base != each).nonzero()[0]) for each in base])
    other = base[rows]

    def decisions(points):
        one_hot = nn.functional.one_hot(network(points).argmax(dim=1), 5)
        return one_hot.log() if certain else one_hot

    partners = Partners(images[rows], logits)
    expected = SegmentAttack(by='decisions')(
        network, images, base, other, partners=replace(partners, logits=logits[rows])
    )
    found = SegmentAttack()(decisions, images, base, other, partners=partners)
    assert expected.success.sum() > 10
    assert torch.equal(expected.samples, found.samples)
    assert torch.equal(expected.success, found.success)
    assert torch.equal(expected.target, found.target)
    assert all(value.isfinite() for value in found.statistics().values())


def test_by_logits_it_ends_closer_in_as_many_passes(network, images):
    with torch.no_grad():
        base, target = network(images).topk(2).indices.T
    attacks = {by: SegmentAttack(5, by=by) for by in ('logits', 'decisions')}
    found = {}
    for by, attack in attacks.items():
        torch.manual_seed(0)
        found[by] = attack(network, images, base, target)
    both = found['logits'].success & found['decisions'].success
    assert both.sum() > 10
    leads = {by: -class_lead(each.logits, base)[both] for by, each in found.items()}
    assert min(each.min() for each in leads.values()) > 0
    assert leads['logits'].median() < 0.2 * leads['decisions'].median()
    with torch.no_grad():
        again = network(found['logits'].samples)
    torch.testing.assert_close(again, found['logits'].logits)
    assert (again.argmax(dim=1) == found['logits'].target)[both].all()


@pytest.mark.parametrize('certain', [False, True])
def test_a_function_of_decisions_is_searched_by_logits_too(certain):
    def function(points):
        return decide(points).float().log() if certain else decide(points)

    starts, partners = lines()
    partners = replace(partners, logits=decide(partners.inputs))
    result = SegmentAttack(12)(function, starts, BASE, TARGET, partners=partners)
    assert result.success.all()
    assert (result.samples[:, 0] - ENDS).min() >= 0
    assert (result.samples[:, 0] - ENDS).max() < 0.01


def test_the_passes_are_those_of_the_samples_that_start_in_their_base_class():
    asked = []

    def model(points):
        asked.append(len(points))
        return decide(points)

    starts, partners = lines()
    wrong = torch.tensor([0, 0, 1, 0, 0])
    result = SegmentAttack(4)(model, starts, wrong, 1 - wrong, partners=partners)
    assert asked == [4] * 4
    # the ends 0.5 is skipped; 0.98 lies in the last sixteenth
    assert result.success.tolist() == [True, True, False, True, False]


@pytest.mark.parametrize('by', ['logits', 'decisions'])
@pytest.mark.parametrize('spread', [0.05, 0.3])
def test_near_the_boundary_means_on_either_side(spread, by):
    starts = torch.tensor([[0.0, 0.6, 1.0]]).repeat(2000, 1)
    ends = starts.clone()
    ends[:, 0] = 1
    base = torch.zeros(2000, dtype=torch.int64)
    attack = SegmentAttack(num_passes=10 if by == 'decisions' else 20, spread=spread, by=by)
    partners = Partners(ends, decide(starts), logits=decide(ends))
    result = attack(decide, starts, base, base + 1, partners=partners)
    assert result.success.all()
    assert result.target.eq(1).all()
    shares = result.samples[:, 0]
    assert (shares - 0.6).abs().max() <= spread + 1e-3
    # uniform: five standard deviations of mean and of the share beyond the boundary
    assert abs(shares.mean() - 0.6) < 5 * spread / 3**0.5 / 2000**0.5
    assert abs((shares > 0.6).float().mean() - 0.5) < 0.056
    assert torch.equal(result.logits, decide(result.samples).float())


def test_points_keep_to_the_bounds(network, attacked, channel_bounds, check_result):
    result = check_result(SegmentAttack(), network, *attacked, channel_bounds)
    assert result.success.all()
    narrow = tuple(0.5 * bound for bound in channel_bounds)
    result = SegmentAttack()(network, *attacked, narrow)
    for samples in (attacked[0], result.samples[result.success]):
        outside = (samples < narrow[0]) | (samples > narrow[1])
        assert outside.any() == (samples is attacked[0]), 'the bounds must bind'


def test_partners_are_drawn_from_the_batch_where_none_are_given():
    decisions = torch.tensor([0, 0, 1, 2, 2])
    target = torch.tensor([1, 2, 0, 3, 0])
    seen = [set() for _ in range(5)]
    for _ in range(60):
        for row, partner in enumerate(partners_in_batch(decisions, target).tolist()):
            seen[row].add(partner)
    assert seen == [{2}, {3, 4}, {0, 1}, {3}, {0, 1}]


def test_a_sample_without_a_partner_stays():
    starts, _ = lines()
    result = SegmentAttack()(decide, starts, BASE, TARGET)
    assert not result.success.any()
    assert torch.equal(result.samples, starts)


def test_a_partner_that_the_model_puts_in_the_base_class_gives_nothing():
    starts, partners = lines()
    partners.inputs[:, 0] = 0.005
    result = SegmentAttack()(decide, starts, BASE, TARGET, partners=partners)
    assert not result.success.any()


def test_what_the_model_says_nan_of_is_rejected():
    starts, partners = lines()
    result = SegmentAttack()(
        lambda points: torch.full((len(points), 4), torch.nan), starts, BASE, TARGET, None, partners
    )
    assert not result.success.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
def test_samples_of_any_precision(dtype):
    starts, partners = lines()
    partners = Partners(partners.inputs.to(dtype), partners.base_logits)
    result = SegmentAttack()(decide, starts.to(dtype), BASE, TARGET, partners=partners)
    assert result.samples.dtype is torch.float32
    assert result.success.all()


def test_no_sample(network):
    nobody = torch.zeros(0, dtype=torch.int64)
    partners = Partners(torch.zeros(0, 3, 6, 6), torch.zeros(0, 5))
    result = SegmentAttack()(network, torch.zeros(0, 3, 6, 6), nobody, nobody, None, partners)
    assert result.samples.shape == (0, 3, 6, 6)
    assert result.statistics()['accepted'] == 0


def test_noise_is_as_long_as_the_way_to_the_boundary():
    starts, partners = lines()
    other = SegmentAttack()(decide, starts, BASE, TARGET, partners=partners)
    noise = RandomNoiseAttack(dict(type='SegmentAttack'))
    assert noise.needs_partners
    result = noise(decide, starts, BASE, TARGET, partners=partners)
    lengths = [(r.samples - starts).norm(dim=1) for r in (other, result)]
    torch.testing.assert_close(*lengths)


def test_an_attack_that_moves_toward_no_partner_takes_none(network, attacked):
    with pytest.raises(ConfigError, match='BSSAttack moves toward no partners'):
        BSSAttack()(network, *attacked, partners=Partners(attacked[0], torch.zeros(16, 5)))


@pytest.mark.parametrize(
    'changes', [dict(num_passes=0), dict(spread=-0.1), dict(spread=1.5), dict(by='gradient')]
)
def test_values_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        SegmentAttack(**changes)


def test_bisection_is_that_of_each_function():
    roots = torch.rand(50, generator=torch.Generator().manual_seed(0))
    lower, upper = bisect(lambda shares: shares > roots, roots, 8)
    torch.testing.assert_close(upper - lower, torch.full((50,), 2.0**-8))
    assert ((lower <= roots) & (roots < upper)).all()


def test_points_between():
    starts, ends = torch.randn(2, 7, 3, 2, 2)
    shares = torch.rand(7)
    expected = [(1 - t) * a + t * b for a, b, t in zip(starts, ends, shares, strict=True)]
    torch.testing.assert_close(between(starts, ends, shares), torch.stack(expected))
