# Heo et al. 2019, as their code ran it: L_cls + alpha L_KD + beta L_BS, beta from 2 to 0 at 75 %
_base_ = '../kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    losses=dict(
        loss_bss=dict(
            type='mmbss.BoundaryLoss',
            attack=dict(type='mmbss.BSSAttack'),
            num_base_samples=64,
            loss=dict(type='mmbss.KDLoss', temperature=3.0),
            # two choices of the authors' code that the paper does not mention
            train_on='all',
            bounds=(-2.5, 2.5),
        ),
    ),
)

default_hooks = dict(bss=dict(schedules=dict(loss_bss=_base_.published_weights.loss_bss)))
