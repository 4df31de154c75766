# the published recipe with clean and boundary samples in one batch of the student's BatchNorm
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(batch_norm='joint'))
