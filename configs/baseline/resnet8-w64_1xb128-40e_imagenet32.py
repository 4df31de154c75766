_base_ = './resnet26-w64_1xb128-40e_imagenet32.py'

model = dict(backbone=dict(depth=8))
