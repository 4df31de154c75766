import itertools

import pytest
import torch

from mmbss.attacks import JSMAAttack
from mmbss.attacks.jsma import best_pairs
from mmbss.engine.errors import ConfigError

INF = float('inf')


def best_saliency(gain, loss):
    """Over all pairs of one row, as algorithm 3 is written; None where no pair is allowed."""
    best = None
    for p, q in itertools.combinations(range(len(gain)), 2):
        alpha, beta = gain[p] + gain[q], -(loss[p] + loss[q])
        if alpha > 0 and beta < 0 and (best is None or -alpha * beta > best):
            best = -alpha * beta
    return best


@pytest.mark.parametrize('slope', [0.0, -1.0, -3.0, 1.0])
@pytest.mark.parametrize('num_values', [2, 3, 25])
def test_the_best_pair_is_that_of_all_pairs(slope, num_values):
    gain = torch.randn(20, num_values)
    loss = torch.randn(20, num_values) + slope * gain
    gain[torch.rand_like(gain) < 0.2] = -INF
    check_best_pairs(gain, loss)
    check_best_pairs(gain.round(), loss.round())  # many ties


def check_best_pairs(gain, loss):
    pairs, found = best_pairs(gain, loss)
    for row in range(len(gain)):
        expected = best_saliency(gain[row].tolist(), loss[row].tolist())
        assert found[row].item() == (expected is not None)
        if found[row]:
            pair = pairs[row]
            assert pair[0] != pair[1]
            saliency = gain[row, pair].sum() * loss[row, pair].sum()
            assert saliency.item() == pytest.approx(expected, rel=1e-5)


def test_no_allowed_pair():
    assert best_pairs(-torch.ones(1, 4), torch.ones(1, 4))[1].tolist() == [False]
    assert best_pairs(torch.full((1, 4), -INF), torch.ones(1, 4))[1].tolist() == [False]
    assert best_pairs(torch.zeros(0, 4), torch.zeros(0, 4))[0].shape == (0, 2)


def by_loops(model, sample, target, bounds, *, theta, gamma, output):
    """The attack on one sample as the paper has it: the whole Jacobian, every pair."""
    values = sample.clone().flatten()
    low, high = (bound.expand(sample.shape).flatten() for bound in bounds)
    for _ in range(int(gamma * len(values) / 2)):
        logits = model(values.view(1, *sample.shape))[0]
        if logits.argmax() == target:
            break

        def outputs(flat):
            answer = model(flat.view(1, *sample.shape))[0]
            return answer.softmax(dim=0) if output == 'softmax' else answer

        jacobian = torch.autograd.functional.jacobian(outputs, values)
        sign = 1 if theta > 0 else -1
        alpha = (sign * jacobian[target]).tolist()
        beta = (sign * (jacobian.sum(dim=0) - jacobian[target])).tolist()
        limit = high if theta > 0 else low
        best, chosen = 0.0, None
        movable = (values != limit).nonzero().flatten().tolist()
        for p, q in itertools.combinations(movable, 2):
            a, b = alpha[p] + alpha[q], beta[p] + beta[q]
            if a > 0 and b < 0 and -a * b > best:
                best, chosen = -a * b, [p, q]
        if chosen is None:
            break
        moved = values[chosen] + theta * (high - low)[chosen]
        values[chosen] = torch.max(torch.min(moved, high[chosen]), low[chosen])
    return values.view_as(sample)


@pytest.mark.parametrize(
    'options',
    [
        dict(theta=1.0, gamma=0.1, output='logits'),
        dict(theta=1.0, gamma=0.1, output='softmax'),
        dict(theta=-1.0, gamma=0.1, output='logits'),
        dict(theta=0.4, gamma=0.15, output='logits'),
    ],
)
def test_samples_are_those_of_the_paper(options, network, attacked, channel_bounds, check_result):
    samples, base, _ = (values[:4] for values in attacked)
    target = (base + torch.tensor([1, 2, 3, 4])) % 5
    result = check_result(JSMAAttack(**options), network, samples, base, target, channel_bounds)
    for row in range(4):
        expected = by_loops(network, samples[row], target[row], channel_bounds, **options)
        torch.testing.assert_close(result.samples[row], expected)
    assert (result.steps > 0).all()


def test_few_values_change_and_these_fully(network, attacked, channel_bounds, check_result):
    samples, base, _ = attacked
    target = (base + 1) % 5
    result = check_result(JSMAAttack(gamma=0.3), network, samples, base, target, channel_bounds)
    changed = result.samples != samples
    assert result.success.any()
    assert (changed.flatten(1).float().mean(dim=1) <= 0.3).all()
    highest = channel_bounds[1].expand_as(samples)
    assert torch.equal(result.samples[changed], highest[changed])
    # two gradients for each pair
    assert torch.equal(result.steps[result.success], changed.flatten(1).sum(1)[result.success])


def test_gamma_is_the_most_values_that_change():
    def stubborn(inputs):
        total = inputs.sum(dim=1)
        return torch.stack([20 - total, total / 100], dim=1)

    samples, base, target = torch.zeros(1, 40), torch.tensor([0]), torch.tensor([1])
    result = JSMAAttack(gamma=0.25)(stubborn, samples, base, target, (0.0, 1.0))
    assert (result.samples == 1).sum() == 10
    assert not result.success.any()


def test_a_saturated_softmax_stops_the_attack_on_probabilities_alone():
    def sure(inputs):
        return 1000 * inputs @ torch.tensor([[1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]])

    samples, base, target = torch.tensor([[0.9, 0.2, 0.3]]), torch.tensor([0]), torch.tensor([1])
    found = [
        JSMAAttack(gamma=1.0, output=output)(sure, samples, base, target, (0.0, 1.0))
        for output in ('softmax', 'logits')
    ]
    assert torch.equal(found[0].samples, samples)
    assert not found[0].success.any()
    assert found[1].success.all()
    assert torch.equal(found[1].samples, torch.tensor([[0.9, 1.0, 1.0]]))


def test_sample_outside_its_base_class_stays(network, attacked, channel_bounds, check_result):
    samples, base, target = attacked
    base = torch.cat([target[:8], base[8:]])
    target = (base + 1) % 5
    result = check_result(JSMAAttack(), network, samples, base, target, channel_bounds)
    assert torch.equal(result.samples[:8], samples[:8])
    assert (result.steps[:8] == 0).all()
    assert (result.steps[8:] > 0).all()


def test_a_sample_beyond_the_bounds_is_brought_within(network, attacked):
    samples, base, target = attacked
    within = tuple(torch.full((1, 1, 1), bound) for bound in (-1.0, 1.5))
    result = JSMAAttack()(network, samples, base, target, within)
    assert result.success.any()
    assert torch.equal(result.samples.clamp(-1.0, 1.5), result.samples)


def test_no_sample(network, channel_bounds):
    nobody = torch.zeros(0, dtype=torch.int64)
    result = JSMAAttack()(network, torch.zeros(0, 3, 6, 6), nobody, nobody, channel_bounds)
    assert result.samples.shape == (0, 3, 6, 6)


def test_missing_bounds_are_asked_for(network, attacked):
    with pytest.raises(ConfigError, match='give bounds'):
        JSMAAttack()(network, *attacked)


@pytest.mark.parametrize(
    'options', [dict(theta=0), dict(theta=2), dict(gamma=0), dict(gamma=1.5), dict(output='probs')]
)
def test_parameters_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f'JSMAAttack: {next(iter(options))}'):
        JSMAAttack(**options)


def test_bounds_in_double_precision_leave_the_samples_in_float32(network, attacked, channel_bounds):
    expected = JSMAAttack()(network, *attacked, channel_bounds)
    result = JSMAAttack()(network, *attacked, tuple(bound.double() for bound in channel_bounds))
    assert result.samples.dtype == torch.float32
    torch.testing.assert_close(result.samples, expected.samples)


@pytest.mark.parametrize(('output', 'gradients'), [('logits', 2), ('softmax', 1)])
def test_steps_count_the_gradients(output, gradients):
    samples, base, target = torch.tensor([[0.5, 0.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
    weight = torch.tensor([[1.0, -0.5, -0.5], [0.2, 0.7, 0.3]])
    attack = JSMAAttack(gamma=1.0, output=output)
    result = attack(lambda inputs: inputs @ weight.T, samples, base, target, (0.0, 1.0))
    assert result.success.tolist() == [True]
    assert result.steps.tolist() == [gradients]


def test_a_third_class_that_wins_is_no_success_and_no_target():
    samples, base, target = torch.tensor([[0.5, 0.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
    weight = torch.tensor([[1.0, -9.0, -9.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.5]])
    attack = JSMAAttack(gamma=1.0)
    result = attack(lambda inputs: inputs @ weight.T, samples, base, target, (0.0, 1.0))
    assert result.logits.argmax(dim=1).tolist() == [2]
    assert result.success.tolist() == [False]
    assert result.target.tolist() == [1]


def test_after_the_last_pair_no_graph_is_built():
    graphs = []

    def model(inputs):
        graphs.append(inputs.requires_grad)
        return torch.stack([9 - inputs.sum(dim=1), inputs.sum(dim=1)], dim=1)

    result = JSMAAttack(gamma=0.5)(
        model, torch.zeros(1, 4), torch.tensor([0]), torch.tensor([1]), (0.0, 1.0)
    )
    assert graphs == [True, False]
    assert result.samples.sum().item() == 2


def test_less_than_a_pair_of_values_is_refused():
    inputs, base = torch.rand(3, 64), torch.zeros(3, dtype=torch.long)
    attack = JSMAAttack(gamma=0.03)
    with pytest.raises(ValueError, match=r'of 64 values is less than a pair.*0\.0312 or more'):
        attack(lambda points: points[:, :2], inputs, base, base + 1, (0.0, 1.0))


def test_bounds_may_be_those_of_a_batch_of_one():
    inputs, base = torch.rand(3, 2, 4, 4), torch.zeros(3, dtype=torch.long)
    bounds = (torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1))
    attack = JSMAAttack(gamma=0.2)
    one, other = (
        attack(lambda points: points.flatten(1)[:, :2], inputs, base, base + 1, each).samples
        for each in (bounds, (0.0, 1.0))
    )
    assert torch.equal(one, other)
