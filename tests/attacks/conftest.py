"""Models and samples to attack."""

import copy

import pytest
import torch
from torch import nn

LOWEST = torch.tensor([-2.0, -1.0, 0.0]).view(3, 1, 1)
HIGHEST = torch.tensor([3.1, 1.55, 0.51]).view(3, 1, 1)


@pytest.fixture
def network():
    """A small network with BatchNorm on (3, 6, 6) images, 5 classes."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * 36, 5)).eval()


@pytest.fixture
def images():
    """16 inputs of the small network, without bounds."""
    return torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def linear_model():
    """Makes a model that maps (N, D) inputs to their products with K rows of weights."""

    def make(weight):
        model = nn.Linear(len(weight[0]), len(weight), bias=False)
        model.weight.data = torch.tensor(weight)
        return model.eval()

    return make


@pytest.fixture
def channel_bounds():
    """Bounds that differ between the channels: a pixel is 0.02, 0.01 and 0.002."""
    return LOWEST, HIGHEST


@pytest.fixture
def attacked(network):
    """16 images within the channel bounds, their classes and the next most probable ones."""
    noise = torch.rand(16, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    samples = LOWEST + noise * (HIGHEST - LOWEST)
    with torch.no_grad():
        base, target = network(samples).topk(2).indices.T
    return samples, base, target


@pytest.fixture
def check_result():
    """Check what holds of every attack's result, and that the model is as it was."""

    def check(attack, model, samples, base, target, bounds):
        before = copy.deepcopy(model.state_dict())
        inputs = samples.clone()
        result = attack(model, samples, base, target, bounds)
        assert torch.equal(samples, inputs)
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
        assert not any(module.training for module in model.modules())
        assert result.samples.shape == samples.shape
        assert result.samples.dtype == result.logits.dtype == torch.float32
        assert not result.samples.requires_grad
        assert not result.logits.requires_grad
        with torch.no_grad():
            torch.testing.assert_close(result.logits, model(result.samples))
        assert torch.equal(result.base, base)
        reached = result.logits.argmax(dim=1)
        with torch.no_grad():
            starts_in_base = model(samples).argmax(dim=1) == base
        assert torch.equal(result.success, (reached == result.target) & starts_in_base)
        if bounds is not None:
            assert (result.samples >= bounds[0]).all()
            assert (result.samples <= bounds[1]).all()
        assert all(torch.isfinite(value) for value in result.statistics().values())
        return result

    return check
