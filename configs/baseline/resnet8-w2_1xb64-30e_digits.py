# ResNet8 with 2, 4 and 8 channels instead of 16, 32 and 64
_base_ = './resnet14_1xb64-30e_digits.py'

model = dict(backbone=dict(depth=8, base_channels=2), head=dict(in_channels=8))
