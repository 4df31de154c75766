"""Where teachers come from: mmpretrain, timm, torchvision, Hugging Face, Python, ONNX."""

from mmbss.teachers.sources.load import load_source
from mmbss.teachers.sources.source import Source

__all__ = ['Source', 'load_source']
