"""Stage 0: the strongest student without boundary samples, from 5,000 images.

Settings are chosen here, so no test image is looked at: the runs train on a ninth of the first
45,000 training images and are validated on the last 5,000.
"""

question = 'Which method without boundary samples is best with 5,000 images and 3,160 iterations?'

KD_T4 = 'configs/kd/kd-t4_resnet26-to-resnet8_1xb256-80e_cifar10.py'
KD_STD = 'configs/kd/kd-logit-std_resnet26-to-resnet8_1xb256-80e_cifar10.py'
DKD = 'configs/dkd/dkd_resnet26-to-resnet8_1xb256-80e_cifar10.py'
DIST = 'configs/dist/dist_resnet26-to-resnet8_1xb256-80e_cifar10.py'

common = {
    'train_dataloader.batch_size': 64,
    'train_dataloader.dataset.dataset.indices': 45000,
    'train_dataloader.dataset.fraction': 0.1111111,
    'train_cfg.max_epochs': 40,
    'param_scheduler.milestones': [20, 30],
    'train_cfg.val_interval': 40,
    'val_dataloader.dataset.data_file': 'data/cifar10/train.npz',
    'val_dataloader.dataset.indices': -5000,
    'default_hooks.checkpoint.interval': 10,
}
seeds = [0, 1, 2]
seed_keys = ['train_dataloader.dataset.seed']

_fast = {'model.acceleration.winograd': '4x4', 'model.teacher.acceleration.winograd': '4x2'}
# DKD and DIST have several times the gradient of labels: clipped, and at half the rate, too
_clipped = {**_fast, 'optim_wrapper.clip_grad.max_norm': 5.0}
_slower = {**_clipped, 'optim_wrapper.optimizer.lr': 0.05}
_mixup = {**_fast, 'model.train_cfg.augments': dict(type='Mixup', alpha=1.0)}
_cutmix = {**_fast, 'model.train_cfg.augments': dict(type='CutMix', alpha=1.0)}
arms = {
    'labels': dict(config='configs/baseline/resnet8_1xb256-80e_cifar10.py'),
    'kd-t4': dict(config=KD_T4, options=_fast),
    'dkd': dict(config=DKD, options=_clipped),
    'dkd-lr0.05': dict(config=DKD, options=_slower),
    'dist': dict(config=DIST, options=_clipped),
    'dist-lr0.05': dict(config=DIST, options=_slower),
    'kd-logit-std': dict(config=KD_STD, options=_fast),
    'kd-t4-mixup': dict(config=KD_T4, options=_mixup),
    'kd-t4-cutmix': dict(config=KD_T4, options=_cutmix),
}
contrast = ('kd-t4', 'labels')
margin = 0.5
