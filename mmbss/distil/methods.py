"""What is tried: for each method its settings, the usual one first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mmbss.engine.errors import ConfigError


@dataclass(frozen=True)
class Setting:
    """One method with one temperature and weight.

    Attributes:
        method: Its name.
        name: That of the setting, which is that of its config and its run.
        about: What it is, for the comment in the config.
        changes: What its config changes in that of the labels alone.
    """

    method: str
    name: str
    about: str
    changes: dict[str, Any]


#: Terms on logits, and the one at the boundary; the weights of KD leave 1 - w to the labels.
KD: dict[str, Any] = dict(type='mmbss.KDLoss', scale_by_t2=True)


def labels(batch_size: int) -> list[Setting]:
    """The student on its own."""
    return [Setting('labels', 'labels', 'the labels alone, without a teacher', {})]


def kd(batch_size: int) -> list[Setting]:
    """Plain distillation (Hinton et al. 2015)."""
    return [
        Setting(
            'kd',
            f'kd-t{temperature}-w{weight}',
            f'plain distillation: {1 - weight:.1f} L_labels + {weight} T^2 L_KD, T = {temperature}',
            _tuned(temperature, weight, {}),
        )
        for temperature, weight in ((4, 0.9), (2, 0.5), (8, 0.9))
    ]


def dkd(batch_size: int) -> list[Setting]:
    """Decoupled distillation (Zhao et al. 2022), with its warm-up in 1/12 of the training."""
    return [
        Setting(
            'dkd',
            f'dkd-t{temperature}-b{beta}',
            f'decoupled distillation (Zhao et al. 2022): L_labels + L_DKD, T = {temperature}, '
            f'alpha = 1, beta = {beta}',
            _scheduled(
                dict(
                    loss_dkd=dict(
                        type='mmbss.DKDLoss',
                        temperature=float(temperature),
                        alpha=1.0,
                        beta=float(beta),
                    )
                ),
                dict(loss_dkd=dict(start=0.0, end=1.0, until=round(1 / 12, 4))),
            ),
        )
        for temperature, beta in ((4, 2), (2, 2), (4, 8))
    ]


def dist(batch_size: int) -> list[Setting]:
    """Distillation of relations (Huang et al. 2022)."""
    return [
        Setting(
            'dist',
            f'dist-t{temperature}-w{weight}',
            f'distillation of relations (Huang et al. 2022): L_labels + L_DIST, T = {temperature}, '
            f'beta = gamma = {weight}',
            dict(
                losses=dict(
                    loss_dist=dict(
                        type='mmbss.DISTLoss',
                        temperature=float(temperature),
                        beta=float(weight),
                        gamma=float(weight),
                    )
                )
            ),
        )
        for temperature, weight in ((4, 2), (1, 1), (2, 2))
    ]


def segment(batch_size: int) -> list[Setting]:
    """Plain distillation, and the same loss where the boundary lies between two images."""
    return [
        Setting(
            'segment',
            f'segment-t{temperature}-w{weight}',
            f'plain distillation (T = {temperature}, w = {weight}), and the same loss where the '
            "teacher's boundary lies between two images of the batch",
            _tuned(
                temperature,
                weight,
                dict(
                    loss_bss=dict(
                        type='mmbss.BoundaryLoss',
                        attack=dict(type='mmbss.SegmentAttack'),
                        base_class='teacher',
                        candidates='teacher_correct',
                        batch_share=0.25,
                        loss=dict(KD, temperature=float(temperature)),
                        loss_weight=weight / 4,  # a boundary sample weighs as much as a clean one
                    )
                ),
            ),
        )
        for temperature, weight in ((4, 0.9), (2, 0.5), (8, 0.9))
    ]


def bss(batch_size: int) -> list[Setting]:
    """Boundary supporting samples (Heo et al. 2019): first as published, then with constant KD."""
    boundary: dict[str, Any] = dict(
        type='mmbss.BoundaryLoss',
        attack=dict(type='mmbss.BSSAttack'),
        num_base_samples=max(batch_size // 4, 1),
    )
    published = dict(type='mmbss.KDLoss', temperature=3.0)
    return [
        Setting(
            'bss',
            'bss-published',
            'boundary supporting samples as published (Heo et al. 2019): T = 3, the weight of KD '
            'falls from 4 to 1, that of the boundary from 2 to 0 at 75 % of the training',
            _scheduled(
                dict(loss_kd=published, loss_bss=dict(boundary, loss=published)),
                dict(
                    loss_kd=dict(start=4.0, end=1.0),
                    loss_bss=dict(start=2.0, end=0.0, until=0.75),
                ),
            ),
        ),
        *(
            Setting(
                'bss',
                f'bss-t{temperature}-w{weight}',
                f'plain distillation (T = {temperature}, w = {weight}), and the same loss on '
                'boundary supporting samples (Heo et al. 2019)',
                _tuned(
                    temperature,
                    weight,
                    dict(
                        loss_bss=dict(
                            boundary,
                            loss=dict(KD, temperature=float(temperature)),
                            loss_weight=weight / 4,
                        )
                    ),
                ),
            )
            for temperature, weight in ((4, 0.9), (2, 0.5))
        ),
    ]


#: By name, in the order in which they are tried.
METHODS: dict[str, Callable[[int], list[Setting]]] = dict(
    labels=labels, kd=kd, dkd=dkd, dist=dist, segment=segment, bss=bss
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


def settings_of(names: Sequence[str], rounds: int, batch_size: int) -> list[Setting]:
    """The first settings of methods, all first ones before all second ones.

    Args:
        names: Methods.
        rounds: How many settings of each, as far as it has so many.
        batch_size: Of the training.
    """
    own = [METHODS[name](batch_size)[:rounds] for name in names]
    return [each[number] for number in range(rounds) for each in own if number < len(each)]


def _tuned(temperature: int, weight: float, losses: dict[str, Any]) -> dict[str, Any]:
    """Plain distillation with constant weights, and further terms."""
    loss_kd = dict(KD, temperature=float(temperature), loss_weight=weight)
    return dict(
        head=dict(loss=dict(loss_weight=round(1 - weight, 6))),
        losses=dict(loss_kd=loss_kd, **losses),
    )


def _scheduled(losses: dict[str, Any], schedules: dict[str, Any]) -> dict[str, Any]:
    return dict(losses=losses, schedules=schedules)
