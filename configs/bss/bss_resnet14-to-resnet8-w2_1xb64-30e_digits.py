_base_ = '../kd/kd_resnet14-to-resnet8-w2_1xb64-30e_digits.py'

model = dict(
    type='mmbss.BSSDistiller',
    boundary=dict(
        attack=dict(type='mmbss.BSSAttack', num_steps=10, step_size=0.3),
        num_base_samples=16,
        loss=dict(type='mmbss.KDLoss', temperature=3.0),
    ),
)

custom_hooks = [
    dict(
        type='mmbss.BSSHook',
        schedules=dict(
            loss_kd=dict(start=4.0, end=1.0),
            loss_bss=dict(start=2.0, end=0.0, until=0.75),
        ),
    ),
]
