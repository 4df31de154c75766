"""What studies with a tenth of CIFAR-10 share: 5,000 images, 3,160 iterations."""

_base_ = './cifar10.py'

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
