"""What studies on CIFAR-10 share: 5,000 images, 3,160 iterations, the authors' ResNet26.

The test set is looked at once, after the last epoch.
"""

_teacher = dict(
    config='mmbss::baseline/resnet26_1xb256-80e_cifar10.py',
    checkpoint='work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth',
)

common = {
    'train_dataloader.batch_size': 64,
    'train_dataloader.dataset.dataset.indices': 45000,
    'train_dataloader.dataset.fraction': 0.1111111,
    'train_cfg.max_epochs': 40,
    'train_cfg.val_interval': 40,
    'param_scheduler.milestones': [20, 30],
    'default_hooks.checkpoint.interval': 10,
}
seeds = [0, 1, 2, 3, 4, 5, 6, 7]
seed_keys = ['train_dataloader.dataset.seed']
margin = 0.5
evaluators = [
    dict(type='mmbss.Agreement', teacher=_teacher),
    dict(type='mmbss.CalibrationError'),
    dict(type='mmbss.TransitionError', teacher=_teacher, num_samples=500, num_targets=3),
    dict(type='mmbss.CorruptionAccuracy', num_samples=2000),
]
