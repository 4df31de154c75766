# Hinton et al. 2015: no 3 in the transfer set. The last 5,000 training images, which have 3s, are
# held out: tools/shift_bias.py chooses the bias of class 3 on them.
_base_ = './kd_mlp-1200-to-mlp-800_1xb256-100e_mnist.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmbss.ClassSubset',
        drop=[3],
        dataset=dict(type='mmbss.ArrayDataset', data_file='data/mnist/train.npz', indices=55000),
    ),
)
held_out_dataloader = dict(
    batch_size=1000,
    num_workers=0,
    dataset=dict(
        type='mmbss.ArrayDataset', data_file='data/mnist/train.npz', indices=-5000, test_mode=True
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
default_hooks = dict(
    teacher_cache=dict(
        file='work_dirs/mlp-1200-dropout-jitter_1xb256-200e_mnist/logits_mnist-without-3.npz',
    ),
)
