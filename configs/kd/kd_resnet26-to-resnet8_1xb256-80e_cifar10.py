# Hinton et al. 2015 with the weights of Heo et al. 2019: L_cls + alpha L_KD, alpha from 4 to 1
_base_ = [
    '../baseline/resnet8_1xb256-80e_cifar10.py',
    '../_base_/schedules/published_weights.py',
]

model = dict(
    type='mmbss.Distiller',
    teacher=dict(
        config='mmbss::baseline/resnet26_1xb256-80e_cifar10.py',
        checkpoint='work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth',
        acceleration=dict(fuse_bn=True, channels_last=True),
    ),
    acceleration=dict(channels_last=True),
    losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=3.0)),
)

default_hooks = dict(
    bss=dict(type='mmbss.BSSHook', schedules=dict(loss_kd=_base_.published_weights.loss_kd)),
)
