# A small DeiT (six layers of 192, patches of 4 x 4) with a distillation token: labels teach the
# class token, the decisions of the CIFAR ResNet26 the other one (Touvron et al. 2021, eq. 3)
_base_ = [
    '../_base_/datasets/cifar10_bs256.py',
    '../_base_/schedules/cifar10_80e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='mmbss.Distiller',
    backbone=dict(
        type='DistilledVisionTransformer',
        arch=dict(embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        img_size=32,
        patch_size=4,
    ),
    neck=None,
    head=dict(
        type='DeiTClsHead',
        num_classes=10,
        in_channels=192,
        loss=dict(type='CrossEntropyLoss', loss_weight=0.5),
    ),
    teacher=dict(
        config='mmbss::baseline/resnet26_1xb256-80e_cifar10.py',
        checkpoint='work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth',
        acceleration=dict(fuse_bn=True, channels_last=True),
    ),
    losses=dict(loss_token=dict(type='mmbss.HardKDLoss', student_logits='token', loss_weight=0.5)),
)

# 1e-3 for a batch of 512, along a cosine by iteration
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=5e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = dict(
    _delete_=True,
    type='CosineAnnealingLR',
    T_max=80,
    by_epoch=True,
    convert_to_iter_based=True,
)
