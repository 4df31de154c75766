# no boundary samples, but at the start of the training the gradients, in the labelled class and in
# the others, of published KD with samples on the boundary (bss-closest); the weight falls as KD's
_base_ = '../kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    losses=dict(
        _delete_=True,
        loss_dkd=dict(type='mmbss.DKDLoss', temperature=3.0, alpha=0.444, beta=0.25),
    )
)

default_hooks = dict(
    bss=dict(schedules=dict(_delete_=True, loss_dkd=dict(start=1.0, end=0.25))),
)
