_base_ = './bss-newton_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(backbone=dict(depth=20))
