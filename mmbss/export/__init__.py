"""Hand a trained student over to those who have no mmbss, and ask it about images."""

from mmbss.export.export import export_student
from mmbss.export.predict import Prediction, Predictor, find_images, load_predictor

__all__ = [
    'Prediction',
    'Predictor',
    'export_student',
    'find_images',
    'load_predictor',
]
