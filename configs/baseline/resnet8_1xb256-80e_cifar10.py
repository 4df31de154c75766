_base_ = [
    '../_base_/models/cifar_resnet8.py',
    '../_base_/datasets/cifar10_bs256.py',
    '../_base_/schedules/cifar10_80e.py',
    '../_base_/default_runtime.py',
]
