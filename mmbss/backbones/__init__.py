"""Backbones that mmpretrain does not have."""

from mmbss.backbones.cifar_resnet import CIFARResNet
from mmbss.backbones.conv_net import ConvNet
from mmbss.backbones.mlp import MLP

__all__ = ['MLP', 'CIFARResNet', 'ConvNet']
