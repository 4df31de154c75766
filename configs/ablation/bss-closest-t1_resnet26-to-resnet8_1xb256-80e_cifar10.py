# samples on the boundary, learnt at T = 1
_base_ = '../bss/bss-closest_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(loss=dict(temperature=1.0)))
