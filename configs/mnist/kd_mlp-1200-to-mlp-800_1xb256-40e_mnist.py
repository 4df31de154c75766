# Hinton et al. 2015: the small network with the soft targets of the large one at T = 20, no jitter
_base_ = './mlp-800_1xb256-40e_mnist.py'

model = dict(
    type='mmbss.Distiller',
    # the hard labels get the smaller weight
    head=dict(loss=dict(type='CrossEntropyLoss', loss_weight=0.1)),
    teacher=dict(
        config='mmbss::mnist/mlp-1200-dropout-jitter_1xb256-60e_mnist.py',
        checkpoint='work_dirs/mlp-1200-dropout-jitter_1xb256-60e_mnist/epoch_60.pth',
    ),
    losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=20.0, scale_by_t2=True)),
)
default_hooks = dict(
    teacher_cache=dict(
        type='mmbss.TeacherCacheHook',
        file='work_dirs/mlp-1200-dropout-jitter_1xb256-60e_mnist/logits_mnist.npz',
    ),
)
# matching logits at T = 20, times T^2, is a steeper problem than fitting labels: 0.1 diverges
optim_wrapper = dict(optimizer=dict(lr=0.02))
