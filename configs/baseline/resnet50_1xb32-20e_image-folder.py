# Fine-tune an ImageNet ResNet50 on your own images: the teacher.
# Set model.head.num_classes to the number of your classes.
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    '../_base_/datasets/image_folder_bs32.py',
    '../_base_/schedules/finetune_20e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/'
            'resnet50_8xb32_in1k_20210831-ea4938fc.pth',
            prefix='backbone',
        )
    ),
    head=dict(num_classes=10, topk=(1,)),
)
