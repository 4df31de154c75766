# Hinton et al. 2015: the small network with the soft targets of the large one at T = 20, no jitter
_base_ = './mlp-800_1xb256-40e_mnist.py'

model = dict(
    type='mmbss.Distiller',
    # the hard labels get the smaller weight
    head=dict(loss=dict(type='CrossEntropyLoss', loss_weight=0.1)),
    teacher=dict(
        config='mmbss::mnist/mlp-1200-dropout-jitter_1xb256-200e_mnist.py',
        checkpoint='work_dirs/mlp-1200-dropout-jitter_1xb256-200e_mnist/epoch_200.pth',
    ),
    losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=20.0, scale_by_t2=True)),
)
default_hooks = dict(
    checkpoint=dict(interval=10),
    teacher_cache=dict(
        type='mmbss.TeacherCacheHook',
        file='work_dirs/mlp-1200-dropout-jitter_1xb256-200e_mnist/logits_mnist.npz',
    ),
)
# matching logits at T = 20, times T^2, takes longer than fitting labels; 1e-2 is too much
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=3e-3, fused=True))
param_scheduler = dict(T_max=100)
train_cfg = dict(max_epochs=100, val_interval=100)
