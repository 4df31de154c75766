_base_ = './resnet8_cifar10.py'

model = dict(backbone=dict(depth=14))
