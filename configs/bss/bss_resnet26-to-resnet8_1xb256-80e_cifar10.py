# Heo et al. 2019, as their code ran it: L_cls + alpha L_KD + beta L_BS, beta from 2 to 0 at 75 %
_base_ = '../kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    type='mmbss.BSSDistiller',
    boundary=dict(
        attack=dict(type='mmbss.BSSAttack', num_steps=10, step_size=0.3, overshoot=1e-4),
        num_base_samples=64,
        loss=dict(type='mmbss.KDLoss', temperature=3.0),
        # two choices of the authors' code that the paper does not mention
        train_on='all',
        bounds=(-2.5, 2.5),
        reuse_clean_pass=True,
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
