"""Pictures of decision boundaries and of trainings.

:mod:`~mmbss.visualization.planes` and :mod:`~mmbss.visualization.boundary_pairs` work out in plain
torch what there is to see; ``draw_planes``, ``draw_samples`` and ``draw_curves`` draw it with
matplotlib, in the :mod:`~mmbss.visualization.style` that all pictures share.
"""
