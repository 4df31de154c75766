# the published recipe with target classes drawn with equal chances
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(target_class='uniform'))
