import numpy as np
import pytest
import torch
from torch import nn

from mmbss.attacks import FGSMAttack, SubstituteAttack
from mmbss.attacks.black_box.substitute import decide, decision_gradient, small_network
from mmbss.engine.errors import ConfigError
from mmbss.registry import ATTACKS

FGSM = dict(type='FGSMAttack', radius=100, targeted=False)
BOUNDS = (-1.0, 4.1)


@pytest.fixture
def images():
    """Two classes: light in the upper or in the lower half."""
    classes = torch.arange(80) % 2
    light = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])
    light[0, 4:], light[1, 4:] = 0, 1
    pixels = 80 * light[classes] + 60 * torch.rand(80, 8, 8)
    return (BOUNDS[0] + 0.02 * pixels).unsqueeze(1), classes


class BlackBox:
    """Tells its decision alone, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, inputs):
        assert not inputs.requires_grad
        self.asked.append(inputs)
        upper = inputs[:, 0, :4].mean(dim=(1, 2)) > inputs[:, 0, 4:].mean(dim=(1, 2))
        return torch.stack([upper, ~upper], dim=1).float()


def fitted(model, images, **options):
    attack = SubstituteAttack(FGSM, num_rounds=2, num_epochs=15, **options)
    attack.fit(model, images, BOUNDS)
    return attack


def test_the_substitute_decides_as_the_model_and_its_samples_fool_it(images):
    samples, base = images
    model = BlackBox()
    attack = fitted(model, samples[:40])
    decided = attack.substitute(samples[40:]).argmax(dim=1)
    assert (decided == base[40:]).float().mean() > 0.9
    result = attack(model, samples[40:], base[40:], 1 - base[40:], BOUNDS)
    assert result.success.float().mean() > 0.8
    change = (result.samples - samples[40:]).abs().max()
    assert change.item() == pytest.approx(100 * 0.02, rel=1e-3)
    assert result.steps.tolist() == [1] * 40
    expected = FGSMAttack(100, targeted=False).walk(
        attack.substitute, samples[40:], base[40:], 1 - base[40:], BOUNDS
    )[0]
    assert torch.equal(result.samples, expected)


def test_of_one_model_the_substitute_is_always_the_same(images):
    first = fitted(BlackBox(), images[0][:10]).substitute.state_dict()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    second = fitted(BlackBox(), images[0][:10]).substitute.state_dict()
    assert torch.equal(torch.get_rng_state(), state), 'a training goes on with its own numbers'
    other = fitted(BlackBox(), images[0][:10], seed=1).substitute.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_each_round_doubles_the_questions(images):
    model = BlackBox()
    fitted(model, images[0][:10])
    assert [len(asked) for asked in model.asked] == [10, 10, 20]
    first, second = model.asked[:2]
    change = second - first
    largest = 25.5 * 0.02
    at_bound = (second == BOUNDS[0]) | (second == BOUNDS[1])
    zero = change == 0  # where the gradient vanishes
    torch.testing.assert_close(
        change.abs()[~at_bound & ~zero], torch.full_like(change[~at_bound & ~zero], largest)
    )
    assert zero.float().mean() < 0.2
    assert all((q >= BOUNDS[0]).all() and (q <= BOUNDS[1]).all() for q in model.asked)


def test_new_images_go_along_the_gradient_of_their_class(images):
    network = small_network(1, 2)
    samples, classes = images
    signs = decision_gradient(network, samples, classes)
    for row in (0, 1):
        current = samples[row : row + 1].clone().requires_grad_()
        network(current)[0, classes[row]].backward()
        assert torch.equal(signs[row : row + 1], current.grad.sign())


def test_questions_are_asked_in_batches():
    decisions, num_classes = decide(torch.clone, torch.eye(5).repeat(60, 1))
    assert decisions.tolist() == list(range(5)) * 60
    assert num_classes == 5


@pytest.mark.parametrize('colour', [False, True])
def test_images_of_a_file_train_the_substitute_on_the_first_call(colour, images, tmp_path):
    samples, base = images
    pixels = ((samples[:, 0] - BOUNDS[0]) / 0.02).round().numpy().astype(np.uint8)
    if colour:
        pixels = np.stack([pixels] * 3, axis=-1)
        samples = samples.expand(-1, 3, -1, -1)
    np.savez(tmp_path / 'own.npz', images=pixels, labels=np.zeros(80))
    attack = ATTACKS.build(
        dict(
            type='SubstituteAttack',
            attack=FGSM,
            data_file=str(tmp_path / 'own.npz'),
            num_images=40,
            num_rounds=0,
            num_epochs=30,
        )
    )
    model = BlackBox()
    with torch.no_grad():
        result = attack(model, samples[40:], base[40:], 1 - base[40:], BOUNDS)
    assert len(model.asked[0]) == 40
    torch.testing.assert_close(model.asked[0], samples[:40], atol=0.011, rtol=0)
    assert result.success.float().mean() > 0.8
    substitute = attack.substitute
    attack(model, samples[40:], base[40:], 1 - base[40:], BOUNDS)
    assert attack.substitute is substitute


def test_sample_outside_its_base_class_stays(images):
    samples, base = images
    attack = fitted(BlackBox(), samples[:10])
    result = attack(BlackBox(), samples, 1 - base, base, BOUNDS)
    assert torch.equal(result.samples, samples)
    assert not result.success.any()


def test_the_substitute_leaves_the_model_as_it_was(attacked, channel_bounds, check_result, network):
    attack = SubstituteAttack(FGSM, num_rounds=1, num_epochs=2)
    attack.fit(network, attacked[0], channel_bounds)
    check_result(attack, network, *attacked, channel_bounds)
    assert isinstance(attack.substitute, nn.Module)
    assert not any(parameter.requires_grad for parameter in attack.substitute.parameters())


def test_missing_images_are_asked_for(attacked, network, channel_bounds):
    with pytest.raises(ConfigError, match='give data_file, or call fit'):
        SubstituteAttack(FGSM)(network, *attacked, channel_bounds)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(data_file='no/such.npz'), FileNotFoundError, "no file 'no/such.npz'"),
        (dict(attack=dict(type='BSSAttack')), ConfigError, 'got BSSAttack'),
        (dict(num_images=0), ConfigError, 'num_images'),
        (dict(num_epochs=0), ConfigError, 'num_epochs'),
        (dict(num_rounds=-1), ConfigError, 'num_rounds'),
        (dict(step_size=0), ConfigError, 'step_size'),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        SubstituteAttack(**{'attack': FGSM, **options})


def test_mixed_precision_does_not_keep_the_substitute_from_learning(images):
    samples, _ = images
    expected = fitted(BlackBox(), samples[:40]).substitute.state_dict()
    with torch.autocast('cpu', torch.bfloat16):
        found = fitted(BlackBox(), samples[:40]).substitute.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
