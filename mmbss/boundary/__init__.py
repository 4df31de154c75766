"""What there is to learn at the teacher's decision boundary.

:mod:`~mmbss.boundary.sampling` chooses samples and classes, :mod:`~mmbss.boundary.search` finds the
boundary samples with an attack, in plain torch, and :mod:`~mmbss.boundary.boundary_loss` makes a
term of the loss of them. :mod:`~mmbss.boundary.distance_labels` is for teachers that say no more
than a class.
"""

from mmbss.boundary.boundary_loss import BoundaryLoss
from mmbss.boundary.distance_labels import DistanceLabelLoss
from mmbss.boundary.search import BoundarySamples, find_boundary_samples

__all__ = ['BoundaryLoss', 'BoundarySamples', 'DistanceLabelLoss', 'find_boundary_samples']
