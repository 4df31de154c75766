# Distil the fine-tuned ResNet50 into a MobileNetV2 that starts from ImageNet weights.
# Set num_classes of both heads to the number of your classes.
_base_ = [
    'mmpretrain::_base_/models/mobilenet_v2_1x.py',
    '../_base_/datasets/image_folder_bs32.py',
    '../_base_/schedules/finetune_20e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='mmbss.BSSDistiller',
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/mobilenet_v2/'
            'mobilenet_v2_batch256_imagenet_20200708-3b2dc3af.pth',
            prefix='backbone',
        )
    ),
    head=dict(num_classes=10, topk=(1,)),
    teacher=dict(
        config='mmbss::baseline/resnet50_1xb32-20e_image-folder.py',
        checkpoint='work_dirs/resnet50_1xb32-20e_image-folder/epoch_20.pth',
    ),
    losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=3.0)),
    boundary=dict(
        attack=dict(type='mmbss.BSSAttack', num_steps=10, step_size=0.3),
        num_base_samples=8,
        loss=dict(type='mmbss.KDLoss', temperature=3.0),
    ),
)

custom_hooks = [
    dict(
        type='mmbss.BSSHook',
        schedules=dict(
            loss_kd=dict(start=4.0, end=1.0),
            loss_bss=dict(start=2.0, end=0.0, until=0.75),
        ),
    ),
]
