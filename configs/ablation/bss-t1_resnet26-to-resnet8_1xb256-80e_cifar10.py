# the published recipe with T = 1 at the boundary alone
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(loss=dict(temperature=1.0)))
