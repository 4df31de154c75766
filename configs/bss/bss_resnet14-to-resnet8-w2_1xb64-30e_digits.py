_base_ = '../kd/kd_resnet14-to-resnet8-w2_1xb64-30e_digits.py'

model = dict(
    losses=dict(
        loss_bss=dict(
            type='mmbss.BoundaryLoss',
            attack=dict(type='mmbss.BSSAttack'),
            num_base_samples=16,
            loss=dict(type='mmbss.KDLoss', temperature=3.0),
        ),
    ),
)

default_hooks = dict(bss=dict(schedules=dict(loss_bss=_base_.published_weights.loss_bss)))
