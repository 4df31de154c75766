"""Schedules that were made for a training of another length."""

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR

from mmbss.engine.schedules import doubts_of_lengths


@pytest.fixture
def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


@pytest.mark.parametrize(
    ('kind', 'settings', 'doubt'),
    [
        (CosineAnnealingLR, dict(T_max=100), None),
        (CosineAnnealingLR, dict(T_max=95, begin=5, end=100), None),
        (CosineAnnealingLR, dict(T_max=97), None),
        (CosineAnnealingLR, dict(T_max=20), 'T_max=20, but .* 100 .by epoch.*rises again'),
        (CosineAnnealingLR, dict(T_max=300), 'T_max=300, but .* 100 .by epoch.*above its lowest'),
        (CosineAnnealingLR, dict(T_max=1000, by_epoch=False), None),
        (CosineAnnealingLR, dict(T_max=100, by_epoch=False), '1000 .by iteration'),
        (MultiStepLR, dict(milestones=[50, 150]), None),
        (MultiStepLR, dict(milestones=[100, 150]), r'\[100, 150\] lie behind .* 100 .by epoch'),
        (LinearLR, dict(start_factor=0.1, end=5), None),
    ],
)
def test_a_schedule_of_another_length_is_noticed(optimizer, kind, settings, doubt):
    schedule = kind(optimizer, **settings)
    # the rates of somebody's own kind are nobody's business
    lines = [*doubts_of_lengths([object(), schedule], 100, 1000)]
    assert len(lines) == (doubt is not None)
    if doubt:
        with pytest.raises(ValueError, match=doubt):
            raise ValueError(*lines)


@pytest.mark.parametrize('begin', [0, 200])
def test_of_what_is_not_known_nothing_is_said(optimizer, begin):
    schedule = CosineAnnealingLR(optimizer, T_max=100, begin=begin)
    assert not [*doubts_of_lengths([schedule], 100 if begin else float('inf'), float('inf'))]
