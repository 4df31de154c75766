# tuned KD, and the same loss where the teacher's boundary lies between two images of the batch
_base_ = ['../kd/kd-t4_resnet26-to-resnet8_1xb256-80e_cifar10.py', '../_base_/losses/segment.py']

model = dict(losses=dict(loss_bss=_base_.segment_term))
