# the published recipe
_base_ = [
    '../baseline/resnet8-w2_1xb64-300e_digits-few.py',
    '../_base_/schedules/published_weights.py',
]

model = dict(
    type='mmbss.Distiller',
    teacher=dict(
        config='mmbss::baseline/resnet14_1xb64-30e_digits.py',
        checkpoint='work_dirs/resnet14_1xb64-30e_digits/epoch_30.pth',
    ),
    losses=dict(
        loss_kd=dict(type='mmbss.KDLoss', temperature=3.0),
        loss_bss=dict(
            type='mmbss.BoundaryLoss',
            attack=dict(type='mmbss.BSSAttack'),
            num_base_samples=16,
            loss=dict(type='mmbss.KDLoss', temperature=3.0),
        ),
    ),
)

default_hooks = dict(bss=dict(type='mmbss.BSSHook', schedules=_base_.published_weights))
