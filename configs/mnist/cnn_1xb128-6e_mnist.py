# The network of Papernot et al. 2016, undefended. Inputs are pixels in [0, 1]; Adam and a cosine
# take 6 epochs instead of the paper's 50.
_base_ = [
    '../_base_/models/mnist_cnn.py',
    '../_base_/datasets/mnist_bs256.py',
    '../_base_/schedules/mnist_40e.py',
    '../_base_/default_runtime.py',
]

data_preprocessor = dict(mean=[0.0], std=[255.0])
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3))
param_scheduler = dict(T_max=6)
train_cfg = dict(max_epochs=6, val_interval=1)
auto_scale_lr = dict(base_batch_size=128)
default_hooks = dict(logger=dict(interval=100))
