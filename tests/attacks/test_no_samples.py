"""No attack asks its model about an empty batch, whatever becomes of the samples."""

import pytest
import torch
from torch import nn

from mmbss.attacks import (
    BSSAttack,
    ChosenMixAttack,
    ClosestAttack,
    FGSMAttack,
    JSMAAttack,
    NewtonAttack,
    PGDAttack,
    RandomMixAttack,
    RandomNoiseAttack,
    SegmentAttack,
)


class RefusesNoSamples(nn.Module):
    """A network that, as mmpretrain's GlobalAveragePooling, takes no empty batch."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, inputs):
        assert len(inputs) > 0
        score = self.slope * inputs.flatten(1).sum(dim=1)
        return torch.stack([score + 1, -score], dim=1)


@pytest.mark.parametrize(
    'attack',
    [
        *(BSSAttack(), NewtonAttack(), ClosestAttack()),
        *(SegmentAttack(spread=0.1), RandomMixAttack(), ChosenMixAttack()),
        JSMAAttack(gamma=1.0),
        JSMAAttack(gamma=1.0, output='softmax'),
        FGSMAttack(),
        PGDAttack(random_start=True),
        RandomNoiseAttack(dict(type='BSSAttack')),
    ],
    ids=lambda attack: type(attack).__name__,
)
@pytest.mark.parametrize('slope', [0.0, 1.0])
@pytest.mark.parametrize('base', [0, 1])
def test_a_network_is_never_asked_about_no_samples(attack, slope, base):
    model = RefusesNoSamples(slope).eval()
    classes = torch.full((3,), base)
    result = attack(model, torch.zeros(3, 1, 2, 2), classes, 1 - classes, (0.0, 1.0))
    assert result.samples.isfinite().all()
    assert not result.success[result.steps == 0].any()
