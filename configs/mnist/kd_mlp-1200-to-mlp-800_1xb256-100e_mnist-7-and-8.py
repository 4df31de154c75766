# Hinton et al. 2015: only 7s and 8s in the transfer set. tools/shift_bias.py chooses their biases
# on the 5,000 training images that are held out.
_base_ = './kd_mlp-1200-to-mlp-800_1xb256-100e_mnist-without-3.py'

train_dataloader = dict(dataset=dict(drop=None, keep=[7, 8]))
default_hooks = dict(
    teacher_cache=dict(
        file='work_dirs/mlp-1200-dropout-jitter_1xb256-200e_mnist/logits_mnist-7-and-8.npz',
    ),
)
