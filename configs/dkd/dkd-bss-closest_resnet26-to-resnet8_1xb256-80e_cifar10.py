# DKD beside samples on the teacher's boundary, close to their base samples
_base_ = './dkd-bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(losses=dict(loss_bss=dict(attack=dict(type='mmbss.ClosestAttack'))))
