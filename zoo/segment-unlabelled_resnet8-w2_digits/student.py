custom_imports = dict(imports=[
    'mmbss',
])
default_scope = 'mmpretrain'
model = dict(
    backbone=dict(
        base_channels=2, depth=8, in_channels=1, type='mmbss.CIFARResNet'),
    data_preprocessor=dict(
        mean=[
            77.9,
        ], std=[
            95.9,
        ], to_rgb=False, type='ClsDataPreprocessor'),
    head=dict(
        in_channels=8,
        loss=dict(loss_weight=0.0, type='CrossEntropyLoss'),
        num_classes=10,
        type='LinearClsHead'),
    neck=dict(type='GlobalAveragePooling'),
    type='ImageClassifier')
test_cfg = dict()
test_dataloader = dict(
    batch_size=64,
    dataset=dict(
        data_root='images',
        metainfo=dict(classes=[
            '0',
            '1',
            '2',
            '3',
            '4',
            '5',
            '6',
            '7',
            '8',
            '9',
        ]),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(to_rgb=True, type='NumpyToPIL'),
            dict(num_output_channels=1, type='torchvision/Grayscale'),
            dict(type='PILToNumpy'),
            dict(scale=(
                8,
                8,
            ), type='Resize'),
            dict(type='PackInputs'),
        ],
        test_mode=True,
        type='CustomDataset'),
    num_workers=0,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(topk=(1, ), type='Accuracy')
