_base_ = './resnet56-w32_1xb128-100e_tiny-imagenet.py'

model = dict(backbone=dict(depth=20))
