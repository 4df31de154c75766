import pytest
import torch
from torch.nn import functional as F

from mmbss.attacks import FGSMAttack, PGDAttack
from mmbss.attacks.gradient_sign import log_odds
from mmbss.engine.errors import ConfigError

PIXELS = torch.tensor([0.02, 0.01, 0.002]).view(3, 1, 1)


def cross_entropy_gradient(model, samples, labels):
    """Of each sample on its own, in double precision."""
    gradients = []
    for sample, label in zip(samples, labels, strict=True):
        row = sample.double().unsqueeze(0).requires_grad_()
        loss = F.cross_entropy(model.double()(row), label.unsqueeze(0))
        gradients.append(torch.autograd.grad(loss, row)[0])
    model.float()
    return torch.cat(gradients)


def by_loops(model, samples, base, target, bounds, *, radius, step_size, num_steps, targeted):
    """BIM as it is written: a step on the cross-entropy, clipped to the box and the bounds."""
    found = samples
    for _ in range(num_steps):
        labels, sign = (target, -1) if targeted else (base, 1)
        gradient = cross_entropy_gradient(model, found, labels).float()
        found = found + sign * step_size * PIXELS * gradient.sign()
        found = torch.max(torch.min(found, samples + radius * PIXELS), samples - radius * PIXELS)
        found = torch.max(torch.min(found, bounds[1]), bounds[0])
    return found


@pytest.mark.parametrize('targeted', [True, False])
def test_fgsm_is_one_step_on_the_cross_entropy(
    targeted, network, attacked, channel_bounds, check_result
):
    attack = FGSMAttack(radius=4, targeted=targeted)
    result = check_result(attack, network, *attacked, channel_bounds)
    options = dict(radius=4, step_size=4, num_steps=1, targeted=targeted)
    expected = by_loops(network, *attacked, channel_bounds, **options)
    torch.testing.assert_close(result.samples, expected)
    assert result.steps.tolist() == [1] * 16


@pytest.mark.parametrize('targeted', [True, False])
def test_pgd_without_random_start_is_bim(targeted, network, attacked, channel_bounds, check_result):
    options = dict(radius=5, step_size=2, num_steps=4, targeted=targeted)
    result = check_result(PGDAttack(**options), network, *attacked, channel_bounds)
    expected = by_loops(network, *attacked, channel_bounds, **options)
    torch.testing.assert_close(result.samples, expected)
    assert result.steps.tolist() == [4] * 16


def test_the_radius_is_in_pixels_of_each_channel(network, attacked, channel_bounds):
    for attack in (FGSMAttack(radius=3), PGDAttack(radius=3, random_start=True)):
        change = attack(network, *attacked, channel_bounds).samples - attacked[0]
        largest = change.abs().amax(dim=(0, 2, 3)) / PIXELS.flatten()
        torch.testing.assert_close(largest, torch.full((3,), 3.0), rtol=1e-3, atol=0)


def test_units_of_the_samples_make_no_difference(network, attacked, channel_bounds):
    lowest, highest = channel_bounds
    samples, base, target = attacked
    result = PGDAttack()(network, samples, base, target, channel_bounds)
    scaled = PGDAttack()(
        lambda inputs: network(lowest + inputs * (highest - lowest)),
        (samples - lowest) / (highest - lowest),
        base,
        target,
        (0.0, 1.0),
    )
    torch.testing.assert_close(
        lowest + scaled.samples * (highest - lowest), result.samples, atol=1e-4, rtol=1e-4
    )


def test_untargeted_attack_takes_the_class_it_reached_as_target(
    network, attacked, channel_bounds, check_result
):
    samples, base, _ = attacked
    wrong = (base + 1) % 5
    attack = PGDAttack(radius=30, step_size=10, num_steps=5, targeted=False)
    result = check_result(attack, network, samples, base, wrong, channel_bounds)
    assert result.success.all()
    assert torch.equal(result.target, result.logits.argmax(dim=1))
    assert (result.target != base).all()


def test_targeted_attack_reaches_its_target(network, attacked, channel_bounds):
    samples, base, _ = attacked
    target = (base + 1) % 5
    attack = PGDAttack(radius=60, step_size=10, num_steps=10)
    result = attack(network, samples, base, target, channel_bounds)
    assert result.success.all()
    assert torch.equal(result.target, target)


@pytest.mark.parametrize('random_start', [True, False])
def test_sample_outside_its_base_class_stays(
    random_start, network, attacked, channel_bounds, check_result
):
    samples, base, target = attacked
    base = torch.cat([target[:8], base[8:]])
    target = (base + 1) % 5
    attack = PGDAttack(random_start=random_start)
    result = check_result(attack, network, samples, base, target, channel_bounds)
    assert torch.equal(result.samples[:8], samples[:8])
    assert result.steps.tolist() == [0] * 8 + [10] * 8
    assert not result.success[:8].any()
    assert (result.samples[8:] != samples[8:]).any()


def test_random_starts_differ_and_are_those_of_the_seed(network, attacked, channel_bounds):
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        attack = PGDAttack(num_steps=1, random_start=True)
        found.append(attack(network, *attacked, channel_bounds).samples)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize('targeted', [True, False])
def test_a_saturated_softmax_leaves_a_gradient(targeted):
    def sure(inputs):
        return 1000 * inputs

    samples = torch.tensor([[0.9, 0.2, 0.1]])
    base, target = torch.tensor([0]), torch.tensor([1])
    assert cross_entropy_of(sure, samples, base) == 0
    result = FGSMAttack(radius=51, targeted=targeted)(sure, samples, base, target, (0.0, 1.0))
    torch.testing.assert_close(result.samples[0, :2], torch.tensor([0.7, 0.4]))


def cross_entropy_of(model, samples, labels):
    return F.cross_entropy(model(samples), labels)


def test_a_vanishing_gradient_moves_nothing():
    def flat(inputs):
        return torch.tensor([[1.0, 0.0]]) + 0.0 * inputs[:, :1] * torch.ones(1, 2)

    base, target = torch.tensor([0, 0]), torch.tensor([1, 1])
    result = PGDAttack()(flat, torch.ones(2, 3), base, target, (0.0, 2.0))
    assert torch.equal(result.samples, torch.ones(2, 3))
    assert not result.success.any()


def test_a_model_in_bfloat16(network, attacked, channel_bounds):
    network = network.bfloat16()
    samples, base, target = attacked
    result = FGSMAttack()(lambda x: network(x.bfloat16()), samples, base, target, channel_bounds)
    assert result.samples.dtype == result.logits.dtype == torch.float32
    assert result.steps.sum() > 0


def test_no_sample(network, channel_bounds):
    nobody = torch.zeros(0, dtype=torch.int64)
    for attack in (FGSMAttack(), PGDAttack(random_start=True)):
        result = attack(network, torch.zeros(0, 3, 6, 6), nobody, nobody, channel_bounds)
        assert result.samples.shape == (0, 3, 6, 6)
        assert result.logits.shape == (0, 5)


def test_under_no_grad(network, attacked, channel_bounds):
    expected = FGSMAttack()(network, *attacked, channel_bounds).samples
    with torch.no_grad():
        found = FGSMAttack()(network, *attacked, channel_bounds).samples
    assert torch.equal(found, expected)


def test_log_odds_is_the_inverse_of_the_cross_entropy():
    logits = torch.randn(8, 5)
    labels = torch.arange(8) % 5
    expected = F.cross_entropy(logits, labels, reduction='none')
    torch.testing.assert_close(F.softplus(-log_odds(logits, labels)), expected)


def test_missing_bounds_are_asked_for(network, attacked):
    with pytest.raises(ConfigError, match='give bounds'):
        FGSMAttack()(network, *attacked)


@pytest.mark.parametrize(
    ('attack', 'options', 'message'),
    [
        (FGSMAttack, dict(radius=0), 'FGSMAttack: radius'),
        (PGDAttack, dict(radius=float('nan')), 'PGDAttack: radius'),
        (PGDAttack, dict(step_size=-1), 'PGDAttack: step_size'),
        (PGDAttack, dict(num_steps=0), 'PGDAttack: num_steps'),
    ],
)
def test_parameters_out_of_range_are_refused(attack, options, message):
    with pytest.raises(ConfigError, match=message):
        attack(**options)


def test_defaults_are_targeted_and_within_8_pixels():
    assert (FGSMAttack().radius, FGSMAttack().step_size, FGSMAttack().targeted) == (8.0, 8.0, True)
    attack = PGDAttack()
    assert (attack.radius, attack.step_size, attack.num_steps) == (8.0, 2.0, 10)
    assert attack.targeted
    assert not attack.random_start


def test_random_starts_are_uniform_in_the_box_and_within_the_bounds():
    starts = []

    def model(inputs):
        starts.append(inputs.detach())
        return inputs[:, :2]

    samples, classes = torch.full((2000, 3), 0.5), torch.zeros(2000, dtype=torch.int64)
    samples[:, 2] = 0.98  # 2.55 below the highest value, in pixels of 0.1 / 255
    bounds = torch.tensor([0.45, 0.4, 0.881]), torch.tensor([0.55, 0.6, 0.981])
    PGDAttack(radius=10, num_steps=1, random_start=True)(model, samples, classes, classes, bounds)
    # the first question is about the samples themselves
    noise = (starts[1] - samples) / ((bounds[1] - bounds[0]) / 255)
    for column in (0, 1):
        low, high = noise[:, column].min().item(), noise[:, column].max().item()
        assert (low, high) == (pytest.approx(-10, abs=0.2), pytest.approx(10, abs=0.2))
        assert noise[:, column].mean().item() == pytest.approx(0, abs=0.5)
        assert noise[:, column].std().item() == pytest.approx(10 / 3**0.5, abs=0.3)
    assert noise[:, 2].min().item() == pytest.approx(-10, abs=0.2)
    assert noise[:, 2].max().item() == pytest.approx(2.55, abs=0.01)
