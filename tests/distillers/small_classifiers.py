"""Small classifiers of many kinds, for the tests."""


def linear_head(width, num_classes=10):
    return dict(type='LinearClsHead', num_classes=num_classes, in_channels=width)


TRANSFORMER = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
CLASSIFIERS = dict(
    resnet18=dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='GlobalAveragePooling'),
        head=linear_head(64),
    ),
    mobilenet_v2=dict(
        type='ImageClassifier',
        backbone=dict(type='MobileNetV2', widen_factor=0.25),
        neck=dict(type='GlobalAveragePooling'),
        head=linear_head(1280),
    ),
    vit=dict(
        type='ImageClassifier',
        backbone=dict(type='VisionTransformer', arch=TRANSFORMER, img_size=32, patch_size=8),
        head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=16),
    ),
    deit=dict(
        type='ImageClassifier',
        backbone=dict(
            type='DistilledVisionTransformer', arch=TRANSFORMER, img_size=32, patch_size=8
        ),
        head=dict(type='DeiTClsHead', num_classes=10, in_channels=16),
    ),
    swin=dict(
        type='ImageClassifier',
        backbone=dict(
            type='SwinTransformer',
            arch=dict(embed_dims=16, depths=[2, 2], num_heads=[1, 2]),
            img_size=32,
            window_size=4,
            out_indices=(1,),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=linear_head(32),
    ),
    convnext=dict(
        type='ImageClassifier',
        backbone=dict(type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16])),
        head=linear_head(16),
    ),
)
