"""Pictures of decision boundaries and of trainings, and the report that holds them."""

from mmbss.visualization.boundary_pairs import BoundaryPairs, find_boundary_pairs
from mmbss.visualization.boundary_visualization_hook import BoundaryVisualizationHook
from mmbss.visualization.draw_curves import (
    draw_accuracies,
    draw_accuracy_over_fraction,
    draw_curves,
    draw_margins,
)
from mmbss.visualization.draw_planes import draw_decision_planes
from mmbss.visualization.draw_samples import draw_boundary_samples
from mmbss.visualization.planes import (
    Plane,
    logits_on_plane,
    plane_coordinates,
    plane_through,
    points_on_plane,
    square_grid,
)
from mmbss.visualization.style import save_figure, to_rgb, to_svg

__all__ = [
    'BoundaryPairs',
    'BoundaryVisualizationHook',
    'Plane',
    'draw_accuracies',
    'draw_accuracy_over_fraction',
    'draw_boundary_samples',
    'draw_curves',
    'draw_decision_planes',
    'draw_margins',
    'find_boundary_pairs',
    'logits_on_plane',
    'plane_coordinates',
    'plane_through',
    'points_on_plane',
    'save_figure',
    'square_grid',
    'to_rgb',
    'to_svg',
]
