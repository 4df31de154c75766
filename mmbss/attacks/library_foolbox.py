"""Attacks of foolbox (Rauber et al., JOSS 2020, arXiv 1707.04131)."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmbss.engine.build import check_keys, suggest
from mmbss.engine.errors import ConfigError

#: Parts of the names of those attacks that aim at a target class; the others take any class.
AIMING = (
    'BasicIterative',
    'BrendelBethge',
    'CarliniWagner',
    'DDN',
    'EAD',
    'FMN',
    'FastGradient',
    'GenAttack',
    'MomentumIterative',
    'ProjectedGradientDescent',
    'SparseL1Descent',
)


def prepare_foolbox(
    name: str, options: dict[str, Any], radius: float | None, targeted: bool
) -> Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]:
    """Build an attack of foolbox.

    Args:
        name: A class of ``foolbox.attacks``.
        options: Its arguments.
        radius: Largest size of a perturbation of images in [0, 1], in the norm of the attack.
        targeted: Whether the target classes are to be reached.

    Raises:
        ConfigError: If foolbox has no such attack, or the attack does not take an argument, needs
            a radius or aims at no target.
    """
    from foolbox import PyTorchModel, attacks
    from foolbox.attacks.base import FixedEpsilonAttack, MinimizationAttack
    from foolbox.criteria import Misclassification, TargetedMisclassification

    known: dict[str, Any] = {
        key: value
        for key, value in vars(attacks).items()
        if inspect.isclass(value) and issubclass(value, FixedEpsilonAttack | MinimizationAttack)
    }
    if name not in known:
        raise ConfigError(
            f'foolbox has no attack {name!r}{suggest(name, known, 3)} '
            f'It has: {", ".join(sorted(known))}'
        )
    kind = known[name]
    check_keys(options, kind, f'options of {name}')
    if radius is None and issubclass(kind, FixedEpsilonAttack):
        raise ConfigError(f'{name} of foolbox keeps within a radius: give radius, in pixels')
    if targeted and not any(part in kind.__name__ for part in AIMING):
        raise ConfigError(f'{name} of foolbox aims at no target class: set targeted=False')
    attack = kind(**options)

    def search(model: nn.Module, images: Tensor, base: Tensor, target: Tensor) -> Tensor:
        wrapped = PyTorchModel(model, bounds=(0, 1), device=images.device)
        goal = TargetedMisclassification(target) if targeted else Misclassification(base)
        _, found, _ = attack(wrapped, images, goal, epsilons=radius)
        return found

    return search
