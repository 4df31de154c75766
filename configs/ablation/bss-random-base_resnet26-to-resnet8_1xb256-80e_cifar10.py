# the published recipe with base samples chosen at random
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(base_samples='random'))
