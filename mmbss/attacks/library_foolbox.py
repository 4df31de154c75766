"""Attacks of foolbox (Rauber et al., JOSS 2020, arXiv 1707.04131)."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mmbss.engine.build import check_keys, suggest
from mmbss.engine.errors import ConfigError, one_line

#: Parts of the names of those attacks that aim at a target class; the others take any class, of
#: which some would leave out the target without a word.
AIMING = (
    'BasicIterative',
    'BrendelBethge',
    'CarliniWagner',
    'DDN',
    'EAD',
    'FMN',
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
        ConfigError: If foolbox has no such attack, or the attack does not take an argument, or
            needs a radius, or one that is no number of pixels, or aims at no target; on a call, if
            it cannot be run so, as where it takes nothing but a target.
    """
    from foolbox import PyTorchModel, attacks, distances
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
    with refused_by_foolbox(name, f'options={options}'):
        attack = kind(**options)
    if radius is not None and getattr(attack, 'distance', None) is distances.l0:
        raise ConfigError(f'{name} of foolbox counts values, not pixels: set radius=None')

    def search(model: nn.Module, images: Tensor, base: Tensor, target: Tensor) -> Tensor:
        wrapped = PyTorchModel(model, bounds=(0, 1), device=images.device)
        goal = TargetedMisclassification(target) if targeted else Misclassification(base)
        with refused_by_foolbox(name, f'targeted={targeted}, radius={radius}, options={options}'):
            _, found, _ = attack(wrapped, images, goal, epsilons=radius)
        return found

    return search


@contextmanager
def refused_by_foolbox(name: str, settings: str) -> Iterator[None]:
    """Name an attack, and how it was set, in what foolbox says of it."""
    try:
        yield
    except (ImportError, NotImplementedError, ValueError) as error:
        hint = ' (targeted=True may help)' if 'criterion' in str(error) else ''
        raise ConfigError(
            f'{name} of foolbox cannot be run with {settings}: {one_line(error)}{hint}'
        ) from error
