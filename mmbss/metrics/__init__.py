"""Metrics of a student, of its teacher's boundary in it, and of its robustness."""

from mmbss.metrics.agreement import Agreement
from mmbss.metrics.boundary_distance import BoundaryDistance
from mmbss.metrics.boundary_similarity import BoundarySimilarity
from mmbss.metrics.boundary_visibility import BoundaryVisibility
from mmbss.metrics.calibration import CalibrationError
from mmbss.metrics.corruption_accuracy import CorruptionAccuracy
from mmbss.metrics.model_metric import ModelMetric, ModelMetricHook
from mmbss.metrics.robust_accuracy import RobustAccuracy
from mmbss.metrics.teacher_metric import TeacherMetric
from mmbss.metrics.transition_error import TransitionError

__all__ = [
    'Agreement',
    'BoundaryDistance',
    'BoundarySimilarity',
    'BoundaryVisibility',
    'CalibrationError',
    'CorruptionAccuracy',
    'ModelMetric',
    'ModelMetricHook',
    'RobustAccuracy',
    'TeacherMetric',
    'TransitionError',
]
