import random

import numpy as np
import pytest
import torch

from mmbss.engine.randomness import own_randomness, seed_everything, unchanged_randomness


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_all_three_generators_are_seeded():
    seed_everything(0, 1, 2)
    first = draw()
    seed_everything(0, 1, 2)
    assert draw() == first


@pytest.mark.parametrize('other', [(1, 1, 2), (0, 2, 2), (0, 1, 3), (0, 2, 1)])
def test_every_part_counts(other):
    seed_everything(0, 1, 2)
    first = draw()
    seed_everything(*other)
    assert all(a != b for a, b in zip(first, draw(), strict=True))


@pytest.mark.parametrize('context', [unchanged_randomness, lambda: own_randomness(5)])
def test_what_is_drawn_within_changes_nothing_afterwards(context):
    seed_everything(0)
    expected = draw()
    seed_everything(0)
    with pytest.raises(AttributeError), context():
        draw().fails()
    assert draw() == expected


def test_an_own_seed_decides_what_is_drawn():
    drawn = []
    for seed in (5, 5, 6):
        with own_randomness(seed):
            drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[0], torch.rand(3, generator=torch.Generator().manual_seed(5)))


def test_an_own_seed_is_that_of_all_generators():
    drawn = []
    for seed in (5, 5.0, 6, -1):
        with own_randomness(seed):
            drawn.append(draw())
    assert drawn[0] == drawn[1]
    assert all(a != b for a, b in zip(drawn[0], drawn[2], strict=True))
