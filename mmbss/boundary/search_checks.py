"""Which settings of a search for boundary samples go together."""

from mmbss.attacks import Attack, SegmentAttack
from mmbss.boundary.sampling import (
    BASE_CLASSES,
    BASE_SAMPLES,
    CANDIDATES,
    PAIRINGS,
    TARGET_CLASSES,
)
from mmbss.engine.errors import ConfigError

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
    min_target_probability: float,
    pairing: str | None,
    teacher_says: str,
    train_on: str,
) -> None:
    """Refuse settings of :func:`~mmbss.boundary.find_boundary_samples` that are out of their range.

    Raises:
        ConfigError: Naming the setting.
    """
    check_choice('base_class', base_class, BASE_CLASSES)
    check_choice('base_samples', base_samples, BASE_SAMPLES)
    check_choice('teacher_says', teacher_says, TEACHER_SAYS)
    check_choice('train_on', train_on, TRAIN_ON)
    name = type(attack).__name__
    if candidates is not None:
        check_choice('candidates', candidates, CANDIDATES)
    if target_class is not None:
        check_choice('target_class', target_class, TARGET_CLASSES)
        if attack.needs_partners:
            raise ConfigError(
                f'target_class={target_class!r}: {name} moves toward another input, whose class is '
                'the target: remove target_class, or choose by pairing'
            )
    if pairing is not None:
        check_choice('pairing', pairing, PAIRINGS)
        if not attack.needs_partners:
            raise ConfigError(f'pairing={pairing!r}: {name} moves toward no other input: remove it')
    if num_base_samples < 1:
        raise ConfigError(f'num_base_samples must be at least 1, got {num_base_samples}')
    if not 0 <= min_target_probability < 1:
        raise ConfigError(
            f'min_target_probability must be at least 0 and below 1, got {min_target_probability}'
        )
    if min_target_probability and target_class != 'all':
        raise ConfigError(
            "min_target_probability is for target_class='all', but target_class is "
            f'{target_class!r}'
        )
    if teacher_says == 'class':
        check_decisions_suffice(attack, base_samples, pairing)


def check_decisions_suffice(attack: Attack, base_samples: str, pairing: str | None) -> None:
    """Refuse what takes more than the teacher's decisions.

    Raises:
        ConfigError: Naming it.
    """
    known = "teacher_says='class': of the teacher only decisions are known"
    if not isinstance(attack, SegmentAttack):
        raise ConfigError(f'{known}: set attack.type to mmbss.SegmentAttack')
    if base_samples == 'disagreement':
        raise ConfigError(f"{known}: set base_samples to 'random' or 'all'")
    if pairing in ('nearest', 'confused'):
        raise ConfigError(f"{known}: set pairing to 'random'")


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        ConfigError: Naming the choices.
    """
    if value not in choices:
        listed = ' or '.join([', '.join(map(repr, choices[:-1])), repr(choices[-1])])
        raise ConfigError(f'{key} must be {listed}, got {value!r}')
