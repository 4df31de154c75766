# Defensive distillation, second half: the same network from scratch at T = 100 on the soft labels
# of the first, which are stored once. The hard labels have no part in it.
_base_ = './cnn_1xb128-6e_mnist.py'

model = dict(
    type='mmbss.Distiller',
    head=dict(loss=dict(type='CrossEntropyLoss', loss_weight=0.0)),
    teacher=dict(
        config='mmbss::mnist/cnn-t100_1xb128-6e_mnist.py',
        checkpoint='work_dirs/cnn-t100_1xb128-6e_mnist/epoch_6.pth',
    ),
    losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=100.0)),
)
default_hooks = dict(
    teacher_cache=dict(
        type='mmbss.TeacherCacheHook',
        file='work_dirs/cnn-t100_1xb128-6e_mnist/logits_mnist.npz',
    ),
)
