"""AutoAttack (Croce and Hein 2020, arXiv 2003.01690) from the package ``pyautoattack``."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmbss.engine.errors import ConfigError
from mmbss.engine.randomness import unchanged_randomness

VERSIONS = ('standard', 'plus', 'rand')
PARTS = ('apgd-ce', 'apgd-dlr', 'apgd-t', 'fab', 'fab-t', 'square')
NORMS = ('Linf', 'L2', 'L1')
#: The losses of AutoAttack look at the four highest logits.
MIN_CLASSES = 4
BATCH_SIZE = 500


def prepare_autoattack(
    name: str, options: dict[str, Any], radius: float | None, targeted: bool
) -> Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]:
    """Set up AutoAttack or one of its parts.

    Args:
        name: A version or a part of AutoAttack.
        options: ``norm``, one of ``NORMS``.
        radius: Largest size of a perturbation of images in [0, 1], in that norm.
        targeted: Has to be False.

    Raises:
        ConfigError: If an argument is none that AutoAttack takes; on a call with less than four
            classes.
    """
    from pyautoattack import AutoAttack

    if name not in (*VERSIONS, *PARTS):
        raise ConfigError(
            f'autoattack has no attack {name!r}. It has: {", ".join((*VERSIONS, *PARTS))}'
        )
    if set(options) - {'norm'} or options.get('norm', 'Linf') not in NORMS:
        raise ConfigError(f'options of autoattack: norm, one of {list(NORMS)}; got {options}')
    if radius is None:
        raise ConfigError('autoattack keeps within a radius: give radius, in pixels')
    if targeted:
        raise ConfigError('autoattack aims at no target class: set targeted=False')
    choice = dict(version=name) if name in VERSIONS else dict(version='custom', attacks=[name])

    def search(model: nn.Module, images: Tensor, base: Tensor, target: Tensor) -> Tensor:
        num_classes = model(images[:1]).shape[1]
        if num_classes < MIN_CLASSES:
            raise ConfigError(
                f'autoattack needs at least {MIN_CLASSES} classes, the model has {num_classes}'
            )
        # it seeds torch's generator, whose state is not its own
        seed = int(torch.randint(2**31, ()))
        # it also ends the tracing of debuggers and of coverage
        trace = sys.gettrace()
        with unchanged_randomness():
            attack = AutoAttack(
                model, eps=radius, device=images.device, seed=seed, **choice, **options
            )
            for part in (attack.apgd_targeted, attack.fab):
                part.n_target_classes = min(part.n_target_classes, num_classes - 1)
            found, _ = attack.run_standard_evaluation(images, base, batch_size=BATCH_SIZE)
        sys.settrace(trace)
        return found

    return search
