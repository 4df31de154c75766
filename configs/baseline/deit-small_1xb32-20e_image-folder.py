# Fine-tune an ImageNet DeiT-small on your own images: a teacher that is a ViT.
# Set model.head.num_classes to the number of your classes. The weights may be a local file.
_base_ = [
    '../_base_/datasets/image_folder_bs32.py',
    '../_base_/schedules/finetune_20e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/deit/'
            'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth',
            prefix='backbone',
        ),
    ),
    neck=None,
    head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=384),
)

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-5, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
)
