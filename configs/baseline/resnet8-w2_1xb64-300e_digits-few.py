# five images of each class: a batch is all 50, an epoch one iteration
_base_ = './resnet8-w2_1xb64-30e_digits.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmbss.StratifiedSubset',
        dataset=dict(type='mmbss.Digits', split='train'),
        fraction=0.04,
    ),
)
param_scheduler = dict(milestones=[150, 225])
train_cfg = dict(max_epochs=300, val_interval=300)
default_hooks = dict(checkpoint=dict(interval=150))
