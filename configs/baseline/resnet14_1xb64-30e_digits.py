_base_ = [
    '../_base_/models/cifar_resnet8.py',
    '../_base_/datasets/digits_bs64.py',
    '../_base_/schedules/digits_30e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(depth=14, in_channels=1))
default_hooks = dict(logger=dict(interval=20))
