# plain distillation as it is commonly tuned: 0.1 L_cls + 0.9 T^2 L_KD at T = 4
_base_ = '../baseline/resnet20_1xb64-240e_cifar100.py'

model = dict(
    type='mmbss.Distiller',
    head=dict(loss=dict(type='CrossEntropyLoss', loss_weight=0.1)),
    teacher=dict(
        config='mmbss::baseline/resnet56_1xb64-240e_cifar100.py',
        checkpoint='work_dirs/resnet56_1xb64-240e_cifar100/epoch_240.pth',
        acceleration=dict(fuse_bn=True, channels_last=True),
    ),
    acceleration=dict(channels_last=True),
    losses=dict(
        loss_kd=dict(type='mmbss.KDLoss', temperature=4.0, scale_by_t2=True, loss_weight=0.9),
    ),
)
