import pytest
import torch

from mmbss.attacks import BSSAttack
from mmbss.engine.errors import ConfigError


def classes(*values):
    return torch.tensor(values)


def test_target_class_wins_is_accepted():
    result = BSSAttack(step_size=1.0)(
        torch.clone, torch.tensor([[2.0, 1.0, 0.0]]), classes(0), classes(1)
    )
    # L = 1, |g| = sqrt 2: one step moves each of the two coordinates by (1 + 1e-4) / sqrt 2
    moved = (1 + 1e-4) / 2**0.5
    torch.testing.assert_close(result.samples, torch.tensor([[2 - moved, 1 + moved, 0.0]]))
    assert result.success.tolist() == [True]
    assert result.steps.tolist() == [1]
    torch.testing.assert_close(result.logits, result.samples)


def test_third_class_wins_is_rejected(linear_model):
    model = linear_model([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    result = BSSAttack(step_size=1.0)(model, torch.tensor([[2.0, 0.5]]), classes(0), classes(1))
    assert result.logits.argmax().item() == 2
    assert result.success.tolist() == [False]
    assert result.target.tolist() == [1]
    assert result.statistics()['third_class'].item() == 1


def test_third_class_ahead_of_the_base_class_alone_stops_the_sample(linear_model):
    # the third class beats the base class, while the target has not yet
    model = linear_model([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    result = BSSAttack(step_size=0.4)(model, torch.tensor([[2.0, 0.5]]), classes(0), classes(1))
    assert result.logits[0, 0] > result.logits[0, 1]
    assert result.steps.tolist() == [1]
    assert result.success.tolist() == [False]


def test_steps_used_up_is_rejected():
    result = BSSAttack(num_steps=3, step_size=0.01)(
        torch.clone, torch.tensor([[5.0, 0.0, 0.0]]), classes(0), classes(1)
    )
    assert result.steps.tolist() == [3]
    assert result.success.tolist() == [False]
    assert result.statistics()['not_crossed'].item() == 1


def test_crossing_on_the_last_step_is_accepted():
    samples = torch.tensor([[2.0, 1.0, 0.0]])
    result = BSSAttack(num_steps=1, step_size=1.0)(torch.clone, samples, classes(0), classes(1))
    assert result.success.tolist() == [True]


def test_statistics_are_means_over_the_samples():
    # accepted; left for a third class; still in the base class; outside it from the start
    samples = torch.tensor([[2.0, 1.0, 0.0], [2.0, 0.0, 1.8], [9.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    attack = BSSAttack(num_steps=1, step_size=0.6, overshoot=1.0)
    result = attack(torch.clone, samples, classes(0, 0, 0, 0), classes(1, 1, 1, 1))
    probabilities = result.logits.softmax(dim=1)
    gap = (probabilities[:, 0] - probabilities[:, 1]).abs().mean().item()
    assert result.success.tolist() == [True, False, False, False]
    statistics = {name: value.item() for name, value in result.statistics().items()}
    assert statistics == pytest.approx(
        dict(accepted=0.25, third_class=0.5, not_crossed=0.25, steps=0.75, gap=gap)
    )


def test_model_in_training_mode_is_refused(network, images):
    base, target = network(images).topk(2).indices.T
    with pytest.raises(ConfigError, match='training mode'):
        BSSAttack()(network.train(), images, base, target)


@pytest.mark.parametrize(('num_base', 'num_target'), [(2, 3), (3, 2), (2, 2)])
def test_mismatched_shapes_are_refused(num_base, num_target):
    base = torch.zeros(num_base, dtype=torch.int64)
    target = torch.ones(num_target, dtype=torch.int64)
    with pytest.raises(ConfigError, match='3 samples need'):
        BSSAttack()(torch.clone, torch.zeros(3, 3), base, target)


def test_defaults_are_the_published_settings():
    attack = BSSAttack()
    assert (attack.num_steps, attack.step_size, attack.overshoot) == (10, 0.3, 1e-4)
    assert attack.third_class == 'reject'


def test_ends_of_the_ranges_are_allowed():
    assert BSSAttack(num_steps=1, overshoot=0.0).overshoot == 0


def test_after_the_last_gradient_one_pass_without_a_graph_follows():
    passes = []

    def model(inputs):
        passes.append((len(inputs), inputs.requires_grad))
        return inputs.clone()

    # two of three are to leave, or none
    near, far = [1.01, 1.0, 0.0], [9.0, 0.0, 0.0]
    for samples in ([near, near, far], [far]):
        passes.clear()
        samples = torch.tensor(samples)
        base = torch.zeros(len(samples), dtype=torch.int64)
        BSSAttack(num_steps=1, overshoot=0.1)(model, samples, base, base + 1)
        assert passes == [(len(samples), True), (len(samples), False)]
