"""Which settings of a search for boundary samples go together."""

from mmbss.attacks import Attack, SegmentAttack
from mmbss.boundary.sampling import (
    BASE_CLASSES,
    BASE_SAMPLES,
    CANDIDATES,
    TARGET_CLASSES,
)
from mmbss.engine.errors import ConfigError
from mmbss.engine.ranges import check_at_least, check_choice
from mmbss.registry import ATTACKS

#: Which of the samples that were attacked are kept.
TRAIN_ON = ('accepted', 'all')
#: What is known of the teacher: its logits, or its decisions alone.
TEACHER_SAYS = ('logits', 'class')


def check_search(
    attack: Attack,
    *,
    base_class: str,
    candidates: str | None,
    base_samples: str,
    num_base_samples: int,
    target_class: str | None,
    teacher_says: str,
    train_on: str,
) -> None:
    """Refuse settings of :func:`~mmbss.boundary.find_boundary_samples` that are out of their range.

    Raises:
        ConfigError: Naming the setting.
    """
    chosen = dict(base_class=base_class, base_samples=base_samples, train_on=train_on)
    for key, value in (chosen | dict(teacher_says=teacher_says)).items():
        if value is None:
            raise ConfigError(f'{key}=None says nothing: leave it out, or choose')
    check_choice(None, BASE_CLASSES, base_class=base_class)
    check_choice(None, BASE_SAMPLES, base_samples=base_samples)
    check_choice(None, TEACHER_SAYS, teacher_says=teacher_says)
    check_choice(None, TRAIN_ON, train_on=train_on)
    name = type(attack).__name__
    check_choice(None, CANDIDATES, candidates=candidates)
    check_choice(None, TARGET_CLASSES, target_class=target_class)
    check_at_least(None, 1, num_base_samples=num_base_samples)
    if target_class is not None and attack.needs_partners:
        raise ConfigError(
            f'target_class={target_class!r}: {name} moves toward another input, whose class is the '
            'target: remove target_class'
        )
    if teacher_says == 'class':
        check_decisions_suffice(attack, base_samples)


def check_gradient(attack: Attack, differentiable: bool, where: str) -> None:
    """Refuse an attack that asks for a gradient which the teacher does not give.

    Args:
        attack: On the teacher.
        differentiable: Whether its logits have a gradient.
        where: What to call the attack's owner in a message.

    Raises:
        ConfigError: Naming attacks that ask for none.
    """
    if differentiable or not attack.needs_gradient:
        return
    others = sorted(
        name
        for name, kind in ATTACKS.module_dict.items()
        if name != 'SegmentAttack' and not getattr(kind, 'needs_gradient', True)
    )
    raise ConfigError(
        f'{where}: {type(attack).__name__} needs a gradient, which this teacher does not give: set '
        f'attack.type to mmbss.SegmentAttack, or another one of {", ".join(others)}'
    )


def check_decisions_suffice(attack: Attack, base_samples: str) -> None:
    """Refuse what takes more than the teacher's decisions.

    Raises:
        ConfigError: Naming it.
    """
    known = "teacher_says='class': of the teacher only decisions are known"
    if not isinstance(attack, SegmentAttack):
        raise ConfigError(f'{known}: set attack.type to mmbss.SegmentAttack')
    if attack.spread:
        raise ConfigError(
            f'{known}, and its logits are taken to be those on the boundary: set attack.spread=0'
        )
    if base_samples == 'disagreement':
        raise ConfigError(f"{known}: set base_samples to 'random' or 'all'")
