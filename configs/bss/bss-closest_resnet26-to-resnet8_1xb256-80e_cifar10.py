# the published recipe with samples on the boundary, close to their base samples
_base_ = './bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(attack=dict(step='closest', step_size=1.3, overshoot=0.015)))
