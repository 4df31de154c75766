"""Where teachers come from: mmpretrain, timm, torchvision, Hugging Face, Python, ONNX."""

from mmbss.distillers.sources.load import load_source
from mmbss.distillers.sources.source import Source

__all__ = ['Source', 'load_source']
