import pytest
import torch

from mmbss.attacks import GradientEstimationAttack, PGDAttack
from mmbss.engine.errors import ConfigError


def linear(inputs):
    return inputs @ torch.tensor([[3.0, 0.0], [1.0, 2.0], [0.0, -0.5]]).mul(0.1)


def test_the_estimate_is_the_gradient_on_average():
    samples, classes = torch.rand(1, 3).double(), torch.tensor([0])
    current = samples.clone().requires_grad_()
    attack = GradientEstimationAttack(num_directions=2000, probe=0.1)
    # two classes: the log odds of the target are linear in the inputs
    expected, _ = PGDAttack().gradient(linear, current.float(), classes, classes + 1, None)
    estimate, logits = attack.gradient(linear, samples.float(), classes, classes + 1, (-10.0, 10.0))
    pixel = 20 / 255
    torch.testing.assert_close(estimate / pixel, expected, atol=0.03, rtol=0)
    torch.testing.assert_close(logits, linear(samples.float()))


def test_no_gradient_is_asked_for(network, attacked, channel_bounds, check_result):
    def black_box(inputs):
        assert not inputs.requires_grad
        assert not torch.is_grad_enabled()
        return network(inputs)

    samples, base, target = attacked
    options = dict(radius=40, step_size=10, num_steps=8, num_directions=40)
    result = GradientEstimationAttack(**options)(black_box, *attacked, channel_bounds)
    assert result.success.float().mean() > 0.9
    torch.manual_seed(0)
    again = check_result(
        GradientEstimationAttack(**options), network, samples, base, target, channel_bounds
    )
    change = (again.samples - samples).abs().amax(dim=(0, 2, 3))
    torch.testing.assert_close(change, 40 * torch.tensor([0.02, 0.01, 0.002]), rtol=1e-3, atol=0)


def test_queries_stay_within_the_bounds(network, attacked, channel_bounds):
    queries = []

    def black_box(inputs):
        queries.append(len(inputs))
        assert (inputs >= channel_bounds[0]).all()
        assert (inputs <= channel_bounds[1]).all()
        return network(inputs)

    attack = GradientEstimationAttack(num_steps=3, num_directions=4, probe=30)
    result = attack(black_box, *attacked, channel_bounds)
    assert queries == [16] * (3 * (2 * 4 + 1) + 1)
    assert result.steps.tolist() == [3] * 16


def test_untargeted_attack(network, attacked, channel_bounds, check_result):
    samples, base, _ = attacked
    attack = GradientEstimationAttack(40, 10, num_steps=8, num_directions=40, targeted=False)
    result = check_result(attack, network, samples, base, (base + 1) % 5, channel_bounds)
    assert result.success.float().mean() > 0.9
    assert (result.target[result.success] != base[result.success]).all()


@pytest.mark.parametrize(
    'options', [dict(num_directions=0), dict(probe=0), dict(radius=-1), dict(num_steps=0)]
)
def test_parameters_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f'GradientEstimationAttack: {next(iter(options))}'):
        GradientEstimationAttack(**options)


def test_defaults_are_targeted_and_those_of_pgd_but_for_more_steps():
    attack = GradientEstimationAttack()
    assert (attack.radius, attack.step_size, attack.num_steps) == (8.0, 2.0, 20)
    assert (attack.num_directions, attack.probe) == (50, 1.0)
    assert attack.targeted
    assert not GradientEstimationAttack(num_directions=1, targeted=False).targeted
