"""Attacks keep samples within their bounds and finite, whatever network and images are like."""

import copy

import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import ATTACKS, images, labels, networks

from mmbss.registry import ATTACKS as REGISTRY


@st.composite
def attacked(draw):
    """A network with samples, base and target classes and bounds."""
    network = draw(networks())
    pixels = draw(images(network.channels)).float()
    lowest = torch.tensor(draw(st.lists(st.floats(-5, 5), min_size=3, max_size=3)))
    width = torch.tensor(
        draw(st.lists(st.sampled_from([0.01, 1.0, 510.0]), min_size=3, max_size=3))
    )
    lowest = lowest[: network.channels].view(-1, 1, 1)
    highest = lowest + width[: network.channels].view(-1, 1, 1)
    samples = (lowest + (highest - lowest) * pixels / 255).clamp(lowest, highest)
    model = network.build()
    with torch.no_grad():
        own = model(samples).argmax(dim=1)
    base = draw(st.just(own) | labels(len(samples), network.num_classes))
    others = torch.randint(network.num_classes - 1, base.shape)
    return model, samples, base, others + (others >= base), (lowest, highest)


@given(attacked(), ATTACKS)
def test_samples_are_finite_and_within_their_bounds(batch, config):
    model, samples, base, target, bounds = batch
    before, inputs = copy.deepcopy(model.state_dict()), samples.clone()
    result = REGISTRY.build(config)(model, samples, base, target, bounds)
    assert result.samples.isfinite().all()
    assert result.logits.isfinite().all()
    assert all(value.isfinite() for value in result.statistics().values())
    assert (result.samples >= bounds[0]).all()
    assert (result.samples <= bounds[1]).all()
    assert result.samples.shape == samples.shape
    assert torch.equal(samples, inputs)
    assert ((result.target >= 0) & (result.target < result.logits.shape[1])).all()
    # an accepted sample has left its base class for its target class
    assert (result.target != base)[result.success].all()
    accepted = result.logits[result.success]
    of_target = accepted.gather(1, result.target[result.success].unsqueeze(1)).squeeze(1)
    assert torch.equal(of_target, accepted.amax(dim=1))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
