# Hinton et al. 2015: the large network with dropout, bounded weights and inputs shifted by up to
# two pixels in each direction, the teacher
_base_ = './mlp-800_1xb256-40e_mnist.py'

model = dict(
    backbone=dict(hidden=(1200, 1200), dropout=0.5),
    head=dict(in_channels=1200),
)
data_preprocessor = dict(crop_padding=2)
default_hooks = dict(max_norm=dict(type='mmbss.MaxNormHook'))
param_scheduler = dict(T_max=60)
train_cfg = dict(max_epochs=60)
