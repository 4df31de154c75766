"""Planes through three inputs, and what networks answer on them: pure functions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmbss.attacks.functional import ToLogits
from mmbss.engine.errors import ConfigError

#: Points count as collinear if the third lies closer to the line than this share of the way.
COLLINEAR = 1e-4


@dataclass(frozen=True)
class Plane:
    """A two-dimensional plane in the space of inputs.

    Attributes:
        origin: (...) float32, the input at the coordinates (0, 0).
        axes: (2, D) float32, orthonormal, D the number of values of an input.
    """

    origin: Tensor
    axes: Tensor


def plane_through(origin: Tensor, second: Tensor, third: Tensor) -> Plane:
    """The plane through three inputs; the second lies on its first axis, the third above it.

    Args:
        origin: (...) floating-point input, at the coordinates (0, 0).
        second: The same shape; at (x, 0) with x > 0.
        third: The same shape; at (x, y) with y > 0.

    Raises:
        ConfigError: If the three lie on a line.

    Examples:
        >>> import torch
        >>> plane = plane_through(torch.zeros(3), torch.tensor([2.0, 0, 0]), torch.ones(3))
        >>> plane_coordinates(plane, torch.ones(1, 3))
        tensor([[1.0000, 1.4142]])
    """
    # float64: boundary samples lie close together in a space of many dimensions
    along = (second.double() - origin.double()).flatten()
    aside = (third.double() - origin.double()).flatten()
    length = along.norm()
    first = along / length.clamp(min=torch.finfo(length.dtype).tiny)
    rest = aside - (aside @ first) * first
    height = rest.norm()
    if not (length > 0 and height > COLLINEAR * aside.norm()):
        raise ConfigError(
            'the three points of a plane lie on a line: choose a third one that is no mixture of '
            'the other two'
        )
    return Plane(origin.float(), torch.stack([first, rest / height]).float())


def plane_coordinates(plane: Plane, points: Tensor) -> Tensor:
    """Coordinates of the points' projections onto the plane.

    Args:
        plane: The plane.
        points: (N, ...) inputs.

    Returns:
        (N, 2) float32, in the units of the inputs.
    """
    return (points.float() - plane.origin).flatten(1) @ plane.axes.T


def points_on_plane(plane: Plane, coordinates: Tensor) -> Tensor:
    """Inputs at coordinates of the plane: (N, 2) to (N, ...) float32."""
    return plane.origin + (coordinates @ plane.axes).view(-1, *plane.origin.shape)


def square_grid(
    coordinates: Tensor, resolution: int, padding: float = 0.4
) -> tuple[Tensor, Tensor]:
    """A square window around some points.

    Args:
        coordinates: (N, 2) points to show.
        resolution: Grid points on a side.
        padding: Space on every side, as a share of the points' larger extent.

    Returns:
        (resolution,) float32 abscissae and as many ordinates, evenly spaced and rising.

    Examples:
        >>> import torch
        >>> square_grid(torch.tensor([[0.0, 0.0], [2.0, 1.0]]), resolution=3, padding=0.5)
        (tensor([-1.,  1.,  3.]), tensor([-1.5000,  0.5000,  2.5000]))
    """
    lowest, highest = coordinates.amin(dim=0), coordinates.amax(dim=0)
    half = (0.5 + padding) * (highest - lowest).max()
    steps = torch.linspace(-1.0, 1.0, resolution, device=coordinates.device) * half
    x, y = (lowest + highest) / 2
    return x + steps, y + steps


@torch.no_grad()
def logits_on_plane(
    model: ToLogits, plane: Plane, x: Tensor, y: Tensor, batch_size: int = 256
) -> Tensor:
    """Answers of a network on a grid of the plane.

    Args:
        model: Maps (N, ...) inputs to (N, K) logits.
        plane: The plane.
        x: (W,) abscissae.
        y: (H,) ordinates.
        batch_size: Inputs that the network gets at a time.

    Returns:
        (H, W, K) float32 logits; the row is that of the ordinate.
    """
    coordinates = torch.cartesian_prod(y, x).flip(1)
    logits = [model(points_on_plane(plane, rows)).float() for rows in coordinates.split(batch_size)]
    return torch.cat(logits).view(len(y), len(x), -1)
