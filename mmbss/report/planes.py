"""Decision planes of a report: which points they go through, and how they are drawn."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmbss.attacks import ClosestAttack
from mmbss.engine.errors import ConfigError
from mmbss.report.networks import Networks
from mmbss.report.picture import Picture
from mmbss.visualization.boundary_pairs import BoundaryPairs, ToLogits, most_probable_others
from mmbss.visualization.draw_planes import draw_decision_planes
from mmbss.visualization.planes import (
    Plane,
    logits_on_plane,
    plane_coordinates,
    plane_through,
    square_grid,
)

#: Ends right behind the boundary and close to the base sample.
CLOSE_ATTACK = ClosestAttack()
#: Room around the points of a plane, as a share of their extent, and grid points on a side with
#: which it is tried.
PADDINGS = (0.7, 1.0, 1.5, 2.5, 4.0)
COARSE = 12


@dataclass(frozen=True)
class ThirdPoint:
    """What a plane goes through besides a base sample and its boundary sample, (C, H, W).

    The name is for the legend, the description for the caption.
    """

    sample: Tensor
    name: str
    description: str


def third_points(networks: Networks, pairs: BoundaryPairs, place: int) -> Iterator[ThirdPoint]:
    """Points that make planes around one of the pairs, as far as they can be found.

    The first is the teacher's boundary sample toward the next most probable class: the plane
    shows where the teacher decides. The second is the mean of the students' own boundary samples
    toward the same class: the plane shows how their way to it differs from the teacher's.
    """
    start, base, target = (each[place] for each in (pairs.base_samples, pairs.base, pairs.target))
    if len(networks.classes) > 2:
        with torch.no_grad():
            logits = networks.teacher(start.unsqueeze(0))
        runner_up = most_probable_others(logits, base.unsqueeze(0), 2)[0, 1]
        sample = move(networks, networks.teacher, start, base, runner_up)
        if sample is not None:
            label = networks.classes[runner_up]
            yield ThirdPoint(
                sample, f'boundary sample, {label}', f"the teacher's boundary sample of {label}"
            )
    found = [
        sample
        for student in networks.students.values()
        if (sample := move(networks, student, start, base, target)) is not None
    ]
    if found:
        label = networks.classes[target]
        yield ThirdPoint(
            torch.stack(found).mean(dim=0),
            f"students' boundary samples, {label}",
            f"the mean of the students' own boundary samples of {label}",
        )


def move(
    networks: Networks, answer: ToLogits, sample: Tensor, base: Tensor, target: Tensor
) -> Tensor | None:
    """Move one sample onto the boundary of a network; None where the attack fails."""
    result = CLOSE_ATTACK(
        answer, sample.unsqueeze(0), base.unsqueeze(0), target.unsqueeze(0), networks.bounds
    )
    return result.samples[0] if result.success else None


def plane_pictures(
    networks: Networks, pairs: BoundaryPairs, count: int, resolution: int
) -> list[Picture]:
    """Planes around the first boundary samples of the teacher, at most ``count``."""
    pictures: list[Picture] = []
    for place in range(len(pairs)):
        base, target = (networks.classes[each[place]] for each in (pairs.base, pairs.target))
        names = ['base sample', f'boundary sample, {target}']
        for third in third_points(networks, pairs, place):
            if len(pictures) == count:
                return pictures
            points = torch.stack(
                [pairs.base_samples[place], pairs.boundary_samples[place], third.sample]
            )
            try:
                plane = plane_through(*points)
            except ConfigError:  # students that go the teacher's own way
                continue
            logits, x, y = decide_on_plane(networks, plane, points, resolution)
            marks = zip([*names, third.name], plane_coordinates(plane, points).cpu(), strict=True)
            label = int(pairs.base[place])
            figure = draw_decision_planes(logits, x, y, dict(marks), label, networks.classes)
            description = (
                f"a test sample of class {base}, the teacher's boundary sample of {target}, and "
                f'{third.description}'
            )
            alt = f'Decisions of {", ".join(logits)} on the plane through {description}'
            name = f'plane-{len(pictures) + 1}'
            pictures.append(Picture(name, figure, alt, f'Through {description}.'))
    return pictures


def decide_on_plane(
    networks: Networks, plane: Plane, points: Tensor, resolution: int
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Logits of each network around some points of a plane, and the abscissae and ordinates.

    Students' boundaries may lie much farther out than the teacher's, so the window grows until it
    shows a boundary of each of them, within reason.
    """
    coordinates = plane_coordinates(plane, points)
    for padding in PADDINGS:
        grid = square_grid(coordinates, COARSE, padding)
        seen = (logits_on_plane(ask, plane, *grid) for ask in networks.students.values())
        if all(len(logits.argmax(dim=2).unique()) > 1 for logits in seen):
            break
    x, y = square_grid(coordinates, resolution, padding)
    answers = dict(teacher=networks.teacher, **networks.students)
    logits = {name: logits_on_plane(answer, plane, x, y).cpu() for name, answer in answers.items()}
    return logits, x.cpu(), y.cpu()
