# Zhao et al. 2022 as they distilled ResNet56 into ResNet20: beta = 2, warm-up in 1/12 of training
_base_ = '../kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    losses=dict(
        _delete_=True,
        loss_dkd=dict(type='mmbss.DKDLoss', temperature=4.0, alpha=1.0, beta=2.0),
    )
)

default_hooks = dict(
    bss=dict(schedules=dict(_delete_=True, loss_dkd=dict(start=0.0, end=1.0, until=1 / 12))),
)
