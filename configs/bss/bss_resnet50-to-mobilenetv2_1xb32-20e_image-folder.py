# KD and boundary samples: what kd_resnet50-to-mobilenetv2 says holds here too
_base_ = '../kd/kd_resnet50-to-mobilenetv2_1xb32-20e_image-folder.py'

model = dict(
    losses=dict(
        loss_bss=dict(
            type='mmbss.BoundaryLoss',
            attack=dict(type='mmbss.BSSAttack'),
            num_base_samples=8,
            loss=dict(type='mmbss.KDLoss', temperature=3.0),
        ),
    ),
)

default_hooks = dict(bss=dict(schedules=dict(loss_bss=_base_.published_weights.loss_bss)))
