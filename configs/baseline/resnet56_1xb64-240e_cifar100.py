_base_ = [
    '../_base_/models/cifar_resnet8.py',
    '../_base_/datasets/cifar100_bs64.py',
    '../_base_/schedules/cifar100_240e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(depth=56), head=dict(num_classes=100))
