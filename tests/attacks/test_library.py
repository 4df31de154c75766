import sys

import pytest
import torch
from torch import nn

from mmbss.attacks import LibraryAttack, NewtonAttack
from mmbss.attacks.library import LIBRARIES, ImageClassifier
from mmbss.engine.errors import ConfigError
from mmbss.registry import ATTACKS

#: Attacks of foolbox that look for the smallest perturbation, by what they are called.
SMALLEST = {
    'deepfool': dict(name='L2DeepFoolAttack', options=dict(steps=20), targeted=False),
    'carlini-wagner': dict(
        name='L2CarliniWagnerAttack',
        options=dict(steps=60, binary_search_steps=3, stepsize=0.05, initial_const=10.0),
    ),
    'ddn': dict(name='DDNAttack', options=dict(steps=30, init_epsilon=0.1)),
    'ddn, untargeted': dict(
        name='DDNAttack', options=dict(steps=30, init_epsilon=0.1), targeted=False
    ),
}


@pytest.fixture
def foolbox():
    return pytest.importorskip('foolbox', reason='foolbox is not installed')


@pytest.fixture
def autoattack():
    return pytest.importorskip('pyautoattack', reason='pyautoattack is not installed')


# ---------------------------------------------------------------- foolbox


@pytest.mark.parametrize('name', SMALLEST)
def test_smallest_perturbations(name, foolbox, network, attacked, channel_bounds, check_result):
    samples, base, target = attacked
    attack = LibraryAttack(**SMALLEST[name])
    result = check_result(attack, network, samples, base, target, channel_bounds)
    assert result.success.float().mean() > 0.9
    assert (result.steps > 0).all()
    if attack.targeted:
        assert torch.equal(result.target, target)
    published = NewtonAttack(step_size=1.0, overshoot=1e-4, third_class='accept')
    reference = published(network, samples, base, target, channel_bounds)
    lengths = [(r.samples - samples).flatten(1).norm(dim=1).mean() for r in (result, reference)]
    assert 0 < lengths[0] < 2 * lengths[1]


def test_what_has_one_value_only_stays(foolbox, network, attacked, channel_bounds):
    samples, (lowest, highest) = attacked[0].clone(), channel_bounds
    samples[:, 0], highest = lowest[0], highest.clone()
    highest[0] = lowest[0]
    base, target = network(samples).topk(2).indices.T
    attack = LibraryAttack(**SMALLEST['ddn'])
    result = attack(network, samples, base, target, (lowest, highest))
    assert result.success.any()
    assert torch.equal(result.samples[:, 0], samples[:, 0])


def test_the_radius_is_in_pixels(foolbox, network, attacked, channel_bounds, check_result):
    attack = LibraryAttack('LinfPGD', radius=3, options=dict(steps=5, rel_stepsize=0.5))
    result = check_result(attack, network, *attacked, channel_bounds)
    change = (result.samples - attacked[0]).abs().amax(dim=(0, 2, 3))
    torch.testing.assert_close(change, 3 * torch.tensor([0.02, 0.01, 0.002]), rtol=1e-3, atol=0)
    assert result.steps.tolist() == [5] * 16
    assert attack.in_pixels
    assert not LibraryAttack('DDNAttack').in_pixels


def test_units_of_the_samples_make_no_difference(foolbox, network, attacked, channel_bounds):
    lowest, highest = channel_bounds
    samples, base, target = attacked
    attack = LibraryAttack('DDNAttack', options=dict(steps=10))
    result = attack(network, samples, base, target, channel_bounds)
    images = attack(
        lambda inputs: network(lowest + inputs * (highest - lowest)),
        (samples - lowest) / (highest - lowest),
        base,
        target,
        (0.0, 1.0),
    ).samples
    torch.testing.assert_close(lowest + images * (highest - lowest), result.samples)


def test_parameters_that_ask_for_gradients_get_none(
    foolbox, network, attacked, channel_bounds, check_result
):
    assert all(parameter.requires_grad for parameter in network.parameters())
    check_result(
        LibraryAttack('DDNAttack', options=dict(steps=2)),
        network,
        *attacked,
        channel_bounds,
    )
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_sample_outside_its_base_class_is_not_attacked(
    foolbox, network, attacked, channel_bounds, check_result
):
    samples, base, target = attacked
    base = torch.cat([target[:8], base[8:]])
    target = (base + 1) % 5
    for options in (dict(), dict(targeted=False)):
        attack = LibraryAttack('DDNAttack', options=dict(steps=10), **options)
        result = check_result(attack, network, samples, base, target, channel_bounds)
        assert torch.equal(result.samples[:8], samples[:8])
        assert (result.steps[:8] == 0).all()
        assert not result.success[:8].any()
        assert result.success[8:].any()


def test_untargeted_attack_takes_the_class_it_reached_as_target(
    foolbox, network, attacked, channel_bounds
):
    samples, base, _ = attacked
    attack = LibraryAttack('L2DeepFoolAttack', targeted=False)
    result = attack(network, samples, base, (base + 1) % 5, channel_bounds)
    assert torch.equal(result.target[result.success], result.logits.argmax(dim=1)[result.success])
    assert result.success.float().mean() > 0.9


def test_an_attack_without_gradients(foolbox, network, attacked, channel_bounds, check_result):
    samples, base, target = (values[:4] for values in attacked)
    attack = LibraryAttack(
        'LinfAdditiveUniformNoiseAttack', radius=200, targeted=False, options=dict()
    )
    result = check_any(attack, network, samples, base, target, channel_bounds)
    assert result.steps.tolist() == [0] * 4
    assert torch.equal(result.success, result.logits.argmax(dim=1) != base)


def check_any(attack, network, samples, base, target, bounds):
    torch.manual_seed(1)
    result = attack(network, samples, base, target, bounds)
    assert (result.samples != samples).any()
    return result


def test_no_sample_and_none_to_attack(foolbox, network, attacked, channel_bounds):
    attack = LibraryAttack('DDNAttack')
    nobody = torch.zeros(0, dtype=torch.int64)
    result = attack(network, torch.zeros(0, 3, 6, 6), nobody, nobody, channel_bounds)
    assert result.samples.shape == (0, 3, 6, 6)
    samples, base, target = attacked
    result = attack(network, samples, target, base, channel_bounds)
    assert torch.equal(result.samples, samples)


def test_under_no_grad(foolbox, network, attacked, channel_bounds):
    attack = LibraryAttack('DDNAttack', options=dict(steps=5))
    expected = attack(network, *attacked, channel_bounds).samples
    with torch.no_grad():
        found = attack(network, *attacked, channel_bounds).samples
    assert torch.equal(found, expected)


def test_a_library_that_divides_by_nothing_leaves_the_sample(foolbox):
    def flat(inputs):
        return torch.tensor([[1.0, 0.0]]) + 0.0 * inputs[:, :1] * torch.ones(1, 2)

    samples = torch.rand(2, 3)
    base, target = torch.tensor([0, 0]), torch.tensor([1, 1])
    attack = LibraryAttack('L2DeepFoolAttack', targeted=False)
    result = attack(flat, samples, base, target, (0.0, 1.0))
    assert result.samples.isfinite().all()
    assert not result.success.any()


# ---------------------------------------------------------------- AutoAttack


def no_trace(frame, event, argument):
    """Stands for a debugger."""


@pytest.mark.parametrize('name', ['apgd-ce', 'apgd-dlr', 'apgd-t', 'fab', 'fab-t', 'square'])
def test_parts_of_autoattack(name, autoattack, network, attacked, channel_bounds, check_result):
    samples, base, target = (values[:4] for values in attacked)
    attack = LibraryAttack(name, library='autoattack', radius=20, targeted=False)
    state = torch.random.get_rng_state()
    torch.randint(2**31, ())
    expected_state = torch.random.get_rng_state()
    torch.random.set_rng_state(state)
    trace = sys.gettrace()
    sys.settrace(trace or no_trace)
    result = check_result(attack, network, samples, base, target, channel_bounds)
    assert sys.gettrace() == (trace or no_trace)
    sys.settrace(trace)
    assert torch.equal(torch.random.get_rng_state(), expected_state)
    change = (result.samples - samples).abs().amax(dim=(0, 2, 3))
    assert (change <= 20 * torch.tensor([0.02, 0.01, 0.002]) * 1.001).all()
    assert result.success.any()
    assert (result.steps > 0).all() == (name != 'square')


def test_standard_autoattack_finds_what_its_parts_find(
    autoattack, network, attacked, channel_bounds
):
    samples, base, target = (values[:4] for values in attacked)
    found = []
    for name in ('apgd-ce', 'standard'):
        attack = LibraryAttack(
            name, library='autoattack', radius=250, targeted=False, options=dict(norm='L2')
        )
        result = attack(network, samples, base, target, channel_bounds)
        images = (result.samples - samples) / (channel_bounds[1] - channel_bounds[0])
        assert (images.flatten(1).norm(dim=1) <= 250 / 255 * 1.001).all()
        found.append(result.success)
    assert (found[1] | ~found[0]).all()
    assert found[1].any()


def test_autoattack_needs_four_classes(autoattack):
    attack = LibraryAttack('apgd-ce', library='autoattack', radius=8, targeted=False)
    base, target = torch.tensor([0]), torch.tensor([1])
    with pytest.raises(ConfigError, match='at least 4 classes, the model has 3'):
        attack(torch.clone, torch.tensor([[0.9, 0.2, 0.1]]), base, target, (0.0, 1.0))


# ---------------------------------------------------------------- what a library is given


def test_the_classifier_counts_gradients_and_repeats_them():
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    classifier = ImageClassifier(lambda images: images @ weight)
    images = torch.ones(3, 2, requires_grad=True)
    logits = classifier(images)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images, retain_graph=True)
        torch.testing.assert_close(gradient, torch.tensor([[1.0, 3.0]]).expand(3, 2))
    assert classifier.num_gradients == 6
    classifier(images.detach())
    with torch.no_grad():
        assert not classifier(images).requires_grad
    logits.sum().backward()
    assert weight.grad is None
    assert not list(classifier.parameters())


def test_the_classifier_hides_the_model_from_the_library():
    model = nn.Linear(2, 2)
    classifier = ImageClassifier(model.forward).train()
    classifier.double()
    assert model.weight.dtype == torch.float32


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(name='DeepFool'), r"no attack 'DeepFool', did you mean .*L2DeepFoolAttack"),
        (dict(name='DDNAttack', options=dict(step=5)), "no key 'step', did you mean 'steps'"),
        (dict(name='L2DeepFoolAttack'), 'set targeted=False'),
        (dict(name='LinfFastGradientAttack', radius=8), 'set targeted=False'),
        (dict(name='L0FMNAttack', radius=20), 'counts values, not pixels'),
        (dict(name='LinfPGD'), 'give radius, in pixels'),
        (dict(name='LinfPGD', radius=0), 'radius must be positive'),
    ],
)
def test_bad_arguments_for_foolbox(options, message, foolbox):
    with pytest.raises(ConfigError, match=message):
        ATTACKS.build(dict(type='LibraryAttack', **options))


@pytest.mark.parametrize(
    'options',
    [
        dict(name='GenAttack', radius=8, targeted=False),
        dict(name='DatasetAttack', targeted=False),
    ],
)
def test_what_foolbox_does_not_run_is_named_with_its_settings(
    options, foolbox, network, attacked, channel_bounds
):
    attack = ATTACKS.build(dict(type='LibraryAttack', **options))
    with pytest.raises(ConfigError, match=f'{options["name"]} of foolbox cannot be run with'):
        attack(network, *attacked, bounds=channel_bounds)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(name='apgd'), "no attack 'apgd'. It has: standard"),
        (dict(name='standard'), 'give radius'),
        (dict(name='standard', radius=8), 'set targeted=False'),
        (dict(name='standard', radius=8, options=dict(norm='L0')), 'norm, one of'),
        (dict(name='standard', radius=8, options=dict(eps=1)), 'norm, one of'),
    ],
)
def test_bad_arguments_for_autoattack(options, message, autoattack):
    with pytest.raises(ConfigError, match=message):
        LibraryAttack(library='autoattack', **options)


def test_an_absent_library_is_named_with_the_command_that_installs_it(monkeypatch):
    absent = ('no_such_module', 'no-such-package>=1', None)
    monkeypatch.setitem(LIBRARIES, 'foolbox', absent)
    with pytest.raises(ConfigError, match=r"not installed: pip install 'no-such-package>=1'"):
        LibraryAttack('DDNAttack')


def test_missing_bounds_are_asked_for(foolbox, network, attacked):
    with pytest.raises(ConfigError, match='give bounds'):
        LibraryAttack('DDNAttack')(network, *attacked)


def test_the_libraries_are_those_of_the_extra(root):
    extra = (root / 'requirements' / 'attacks.txt').read_text().split()
    assert sorted(extra) == sorted(requirement for _, requirement, _ in LIBRARIES.values())
