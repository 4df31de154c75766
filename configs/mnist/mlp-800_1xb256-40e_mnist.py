# Hinton et al. 2015: the small network on its own, without regularisation
_base_ = [
    '../_base_/models/mnist_mlp.py',
    '../_base_/datasets/mnist_bs256.py',
    '../_base_/schedules/mnist_40e.py',
    '../_base_/default_runtime.py',
]

default_hooks = dict(logger=dict(interval=100))
# the test set is looked at once
train_cfg = dict(val_interval=40)
