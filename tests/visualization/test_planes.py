import pytest
import torch

from mmbss.visualization.planes import (
    logits_on_plane,
    plane_coordinates,
    plane_through,
    points_on_plane,
    square_grid,
)


@pytest.fixture
def points():
    """Three images that lie close together, as boundary samples do."""
    origin = torch.randn(3, 8, 8)
    return torch.stack([origin, *(origin + 0.01 * torch.randn(2, 3, 8, 8))])


def test_the_axes_are_orthonormal(points):
    axes = plane_through(*points).axes
    assert torch.allclose(axes @ axes.T, torch.eye(2), atol=1e-6)


def test_the_three_points_lie_where_they_are_said_to(points):
    coordinates = plane_coordinates(plane_through(*points), points)
    distance = (points[1] - points[0]).norm()
    assert torch.allclose(coordinates[0], torch.zeros(2))
    assert torch.allclose(coordinates[1], torch.tensor([distance, 0.0]), atol=1e-6)
    assert coordinates[2, 1] > 0


def test_distances_in_the_plane_are_those_of_the_inputs(points):
    flat = plane_coordinates(plane_through(*points), points)
    for i in range(3):
        for j in range(3):
            expected = (
                sum(
                    ((a - b) ** 2).item()
                    for a, b in zip(points[i].flatten(), points[j].flatten(), strict=True)
                )
                ** 0.5
            )
            assert (flat[i] - flat[j]).norm().item() == pytest.approx(expected, abs=1e-5)


def test_points_of_the_plane_map_to_themselves(points):
    plane = plane_through(*points)
    again = points_on_plane(plane, plane_coordinates(plane, points))
    assert torch.allclose(again, points, atol=1e-5)
    coordinates = torch.tensor([[0.3, -2.0], [1.5, 0.1]])
    back = plane_coordinates(plane, points_on_plane(plane, coordinates))
    assert torch.allclose(back, coordinates, atol=1e-5)


def test_a_point_outside_is_projected(points):
    plane = plane_through(*points)
    outside = torch.randn_like(points[:1])
    foot = points_on_plane(plane, plane_coordinates(plane, outside))
    rest = (outside - foot).flatten()
    assert torch.allclose(plane.axes @ rest, torch.zeros(2), atol=1e-4)


@pytest.mark.parametrize(
    ('second', 'third'),
    [([1.0, 1.0], [2.0, 2.0]), ([1.0, 1.0], [-3.0, -3.0]), ([1.0, 0.0], [0.0, 0.0]),
     ([0.0, 0.0], [1.0, 0.0]), ([0.0, 0.0], [0.0, 0.0])],
)  # fmt: skip
def test_points_on_a_line_are_refused(second, third):
    with pytest.raises(ValueError, match='lie on a line'):
        plane_through(torch.zeros(2), torch.tensor(second), torch.tensor(third))


def test_half_precision_is_enough_for_a_plane(points):
    plane = plane_through(*points.bfloat16())
    assert plane.axes.dtype == torch.float32
    assert torch.allclose(plane.axes @ plane.axes.T, torch.eye(2), atol=1e-5)


def test_the_window_is_a_square_that_holds_all_points():
    points = torch.tensor([[0.0, 3.0], [1.0, 3.5], [4.0, 3.2]])
    x, y = square_grid(points, resolution=11, padding=0.1)
    assert len(x) == len(y) == 11
    assert float(x[-1] - x[0]) == pytest.approx(float(y[-1] - y[0])) == pytest.approx(4.8)
    assert x[0] == pytest.approx(-0.4)
    assert y[0] < 3.0 < 3.5 < y[-1]


def test_a_grid_point_holds_the_answer_at_its_coordinates(points):
    plane = plane_through(*points)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    x, y = torch.linspace(-1, 1, 5), torch.linspace(0, 3, 4)
    logits = logits_on_plane(network, plane, x, y, batch_size=7)
    assert logits.shape == (4, 5, 4)
    assert not logits.requires_grad
    for row in range(4):
        for column in range(5):
            point = plane.origin.flatten() + x[column] * plane.axes[0] + y[row] * plane.axes[1]
            expected = network(point.view(1, 3, 8, 8))[0]
            assert torch.allclose(logits[row, column], expected, atol=1e-4)
