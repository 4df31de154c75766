# samples on the boundary, in one batch with the clean ones in the student's BatchNorm
_base_ = '../bss/bss-closest_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(batch_norm='joint'))
