# all training images, none of them with a label; as many iterations as with the labelled few
_base_ = './kd-t4_resnet14-to-resnet8-w2_1xb64-300e_digits-few.py'

model = dict(head=dict(loss=dict(loss_weight=0.0)))
train_dataloader = dict(dataset=dict(fraction=1.0, keeps_labels=False))
param_scheduler = dict(milestones=[7, 11])
train_cfg = dict(max_epochs=15, val_interval=15)
default_hooks = dict(checkpoint=dict(interval=5))
