# Fine-tune a student from timm on your own images; timm's weights may be a local file.
# Set model.head.num_classes to the number of your classes.
_base_ = [
    '../_base_/datasets/image_folder_bs32.py',
    '../_base_/schedules/finetune_20e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='TIMMBackbone',
        model_name='resnet18',
        init_cfg=dict(
            type='mmbss.TimmPretrained',
            checkpoint='https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=512),
)
