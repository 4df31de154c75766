_base_ = [
    '../_base_/models/cifar_resnet8.py',
    '../_base_/datasets/tiny_imagenet_bs128.py',
    '../_base_/schedules/tiny_imagenet_100e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(depth=56, base_channels=32), head=dict(num_classes=200, in_channels=128))
