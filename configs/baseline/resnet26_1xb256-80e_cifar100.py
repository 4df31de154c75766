# the teacher of studies/cifar100.py
_base_ = [
    '../_base_/models/cifar_resnet8.py',
    '../_base_/datasets/cifar100_bs64.py',
    '../_base_/schedules/cifar10_80e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(depth=26), head=dict(num_classes=100))
train_dataloader = dict(batch_size=256)
