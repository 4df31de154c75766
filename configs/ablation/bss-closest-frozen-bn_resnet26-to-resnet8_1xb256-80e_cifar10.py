# samples on the boundary, which do not enter the student's BatchNorm statistics
_base_ = '../bss/bss-closest_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(batch_norm='frozen_statistics'))
