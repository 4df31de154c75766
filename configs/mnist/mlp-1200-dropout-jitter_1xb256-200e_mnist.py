# Hinton et al. 2015: the large network with dropout, bounded weights and inputs shifted by up to
# two pixels in each direction, the teacher
_base_ = './mlp-800_1xb256-40e_mnist.py'

model = dict(
    backbone=dict(hidden=(1200, 1200), dropout=0.5),
    head=dict(in_channels=1200),
)
data_preprocessor = dict(crop_padding=2)
default_hooks = dict(
    max_norm=dict(type='mmbss.MaxNormHook'),
    checkpoint=dict(interval=10),
)
# with dropout and shifted inputs SGD needs more than half as many epochs again
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3, fused=True))
param_scheduler = dict(T_max=200)
train_cfg = dict(max_epochs=200, val_interval=200)
