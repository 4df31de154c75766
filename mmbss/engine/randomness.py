"""Random numbers: seeded from where a run stands, and left as they were by what is no part of it.

The generators are those of Python, NumPy and torch.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_everything(*entropy: int) -> None:
    """Seed Python, NumPy and torch, on all devices, from non-negative integers.

    Examples:
        >>> seed_everything(0, 1, 2)
        >>> first = random.random(), np.random.rand(), torch.rand(1).item()
        >>> seed_everything(0, 1, 2)
        >>> first == (random.random(), np.random.rand(), torch.rand(1).item())
        True
    """
    python, numpy, pytorch = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(python))
    np.random.seed(numpy)
    torch.manual_seed(int(pytorch))


@contextmanager
def unchanged_randomness() -> Iterator[None]:
    """Go on afterwards with the random numbers that would have come without what is done within.

    Of GPUs it is the current one, if one is in use.

    Examples:
        >>> with own_randomness(0):
        ...     expected = torch.rand(1), torch.rand(1)
        >>> with own_randomness(0):
        ...     first = torch.rand(1)
        ...     with unchanged_randomness():
        ...         noise = torch.rand(5)
        ...     expected == (first, torch.rand(1))
        True
    """
    python, numpy = random.getstate(), np.random.get_state()
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(gpus):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Draw from a seed, and go on afterwards as if nothing had been drawn.

    Args:
        seed: Of all generators.
    """
    seed = int(seed)  # of a config it may be 1.0
    with unchanged_randomness():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        yield
