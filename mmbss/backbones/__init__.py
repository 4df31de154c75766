"""Backbones that mmpretrain does not have, and weights for one that it has."""

from mmbss.backbones.cifar_resnet import CIFARResNet
from mmbss.backbones.conv_net import ConvNet
from mmbss.backbones.mlp import MLP
from mmbss.backbones.timm_pretrained import TimmPretrained

__all__ = ['MLP', 'CIFARResNet', 'ConvNet', 'TimmPretrained']
