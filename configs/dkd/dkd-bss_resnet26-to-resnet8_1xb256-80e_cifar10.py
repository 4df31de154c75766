# the published boundary samples beside DKD (Zhao et al. 2022) in place of KD
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    losses=dict(
        _delete_=True,
        loss_dkd=dict(type='mmbss.DKDLoss', temperature=4.0, alpha=1.0, beta=2.0),
        loss_bss=_base_.model.losses.loss_bss,
    )
)

default_hooks = dict(
    bss=dict(
        schedules=dict(
            _delete_=True,
            loss_dkd=dict(start=0.0, end=1.0, until=1 / 12),
            loss_bss=_base_.published_weights.loss_bss,
        ),
    ),
)
