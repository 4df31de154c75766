_base_ = [
    '../_base_/models/cifar_resnet8.py',
    '../_base_/datasets/imagenet32_bs128.py',
    '../_base_/schedules/imagenet32_40e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(depth=26, base_channels=64), head=dict(num_classes=1000, in_channels=256)
)
