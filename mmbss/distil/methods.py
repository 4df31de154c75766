"""What is tried: for each method its settings, the usual one first."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmbss.engine.errors import ConfigError


@dataclass(frozen=True)
class Setting:
    """One method with one temperature and weight.

    Attributes:
        method: Its name.
        name: That of the setting, which is that of its config and its run.
        about: What it is, for the comment in the config.
        model: What its distiller has beyond the student that learns from the labels alone.
        schedules: Of the weights of its losses.
    """

    method: str
    name: str
    about: str
    model: dict[str, Any] = field(default_factory=dict)
    schedules: dict[str, Any] = field(default_factory=dict)


#: Temperatures and weights of plain distillation.
TUNED = ((4, 0.9), (2, 0.5), (8, 0.9))
#: Temperatures and beta of decoupled distillation.
DECOUPLED = ((4, 2), (2, 2), (4, 8))
#: Boundary samples as a share of the batch.
SHARE = 0.25
#: The boundary samples of the paper, and some that need no gradient.
BSS: dict[str, Any] = dict(
    type='mmbss.BoundaryLoss', attack=dict(type='mmbss.BSSAttack'), batch_share=SHARE
)
SEGMENT: dict[str, Any] = dict(
    type='mmbss.BoundaryLoss',
    attack=dict(type='mmbss.SegmentAttack'),
    base_class='teacher',
    candidates='teacher_correct',
    batch_share=SHARE,
    share=0.1,
    loss=dict(type='mmbss.KDLoss', temperature=4.0, scale_by_t2=True),
)


def kd(temperature: int, weight: float, with_bss: bool = False) -> Setting:
    """Plain distillation (Hinton et al. 2015), and perhaps the same loss at the boundary.

    Args:
        temperature: T.
        weight: Of it; 1 - w is left to the labels.
        with_bss: Whether boundary supporting samples (Heo et al. 2019) are learnt from as well.
    """
    loss = dict(type='mmbss.KDLoss', scale_by_t2=True, temperature=float(temperature))
    losses: dict[str, Any] = dict(loss_kd=dict(loss, loss_weight=weight))
    method, also = 'kd', ''
    if with_bss:
        method, also = 'bss', ', and the same loss on boundary supporting samples (Heo et al. 2019)'
        # a boundary sample weighs as much as a clean one
        losses['loss_bss'] = dict(BSS, loss=loss, loss_weight=weight * SHARE)
    labels = round(1 - weight, 6)
    return Setting(
        method,
        f'{method}-t{temperature}-w{weight}',
        f'plain distillation, {labels} L_labels + {weight} T^2 L_KD with T = {temperature}{also}',
        dict(head=dict(loss=dict(loss_weight=labels)), losses=losses),
    )


def dkd(temperature: int, beta: int, with_segment: bool = False) -> Setting:
    """Decoupled distillation (Zhao et al. 2022), with its warm-up in 1/12 of the training.

    Args:
        temperature: T.
        beta: Weight of what the teacher says of the other classes.
        with_segment: Whether its boundary between two images is learnt from as well, with the share
            of the gradient that it has in ``studies/few_images.py``.
    """
    loss = dict(type='mmbss.DKDLoss', temperature=float(temperature), alpha=1.0, beta=float(beta))
    losses, method, also = dict(loss_dkd=loss), 'dkd', ''
    if with_segment:
        losses['loss_bss'], method = SEGMENT, 'segment'
        also = (
            ", and plain distillation where the teacher's boundary lies between two images of the "
            'batch, at a tenth of the gradient'
        )
    return Setting(
        method,
        f'{method}-t{temperature}-b{beta}',
        f'decoupled distillation (Zhao et al. 2022): L_labels + L_DKD, T = {temperature}, '
        f'alpha = 1, beta = {beta}{also}',
        dict(losses=losses),
        dict(loss_dkd=dict(start=0.0, end=1.0, until=round(1 / 12, 4))),
    )


def dist(temperature: int, weight: int) -> Setting:
    """Distillation of relations (Huang et al. 2022)."""
    beta = float(weight)
    loss = dict(type='mmbss.DISTLoss', temperature=float(temperature), beta=beta, gamma=beta)
    return Setting(
        'dist',
        f'dist-t{temperature}-w{weight}',
        f'distillation of relations (Huang et al. 2022): L_labels + L_DIST, T = {temperature}, '
        f'beta = gamma = {weight}',
        dict(losses=dict(loss_dist=loss)),
    )


def published() -> Setting:
    """Boundary supporting samples with the weights of the paper (Heo et al. 2019)."""
    loss = dict(type='mmbss.KDLoss', temperature=3.0)
    return Setting(
        'bss',
        'bss-published',
        'boundary supporting samples as published (Heo et al. 2019): T = 3, the weight of KD '
        'falls from 4 to 1, that of the boundary from 2 to 0 at 75 % of the training',
        dict(losses=dict(loss_kd=loss, loss_bss=dict(BSS, loss=loss))),
        dict(loss_kd=dict(start=4.0, end=1.0), loss_bss=dict(start=2.0, end=0.0, until=0.75)),
    )


#: By name, in the order in which they are tried.
METHODS: dict[str, list[Setting]] = dict(
    labels=[Setting('labels', 'labels', 'the labels alone, without a teacher')],
    kd=[kd(*each) for each in TUNED],
    dkd=[dkd(*each) for each in DECOUPLED],
    dist=[dist(*each) for each in ((4, 2), (1, 1), (2, 2))],
    segment=[dkd(*each, with_segment=True) for each in DECOUPLED],
    bss=[published(), *(kd(*each, with_bss=True) for each in TUNED[:2])],
)
#: Those that need the gradient of the teacher.
NEED_GRADIENT = ('bss',)


def check_methods(names: Sequence[str]) -> list[str]:
    """The methods that are asked for, in their order; ``labels`` is always among them.

    Raises:
        ConfigError: If there is no such method.

    Examples:
        >>> check_methods(['segment', 'kd'])
        ['labels', 'kd', 'segment']
    """
    strange = [name for name in names if name not in METHODS]
    if strange:
        raise ConfigError(f'--methods: no method {strange[0]!r}, choose among {[*METHODS]}')
    return [name for name in METHODS if name in {'labels', *names}]


def settings_to_try(names: Sequence[str], rounds: int) -> list[Setting]:
    """The first settings of methods, all first ones before all second ones.

    Args:
        names: Methods.
        rounds: How many settings of each, as far as it has so many.
    """
    return [
        METHODS[name][number]
        for number in range(rounds)
        for name in names
        if number < len(METHODS[name])
    ]
