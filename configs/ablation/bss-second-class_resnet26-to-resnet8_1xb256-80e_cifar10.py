# the published recipe toward the second most probable class
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(target_class='second_most_probable'))
