custom_imports = dict(imports=[
    'mmbss',
])
default_scope = 'mmpretrain'
model = dict(
    backbone=dict(depth=8, type='mmbss.CIFARResNet'),
    data_preprocessor=dict(
        mean=[
            125.307,
            122.961,
            113.8575,
        ],
        std=[
            51.5865,
            50.847,
            51.255,
        ],
        to_rgb=True,
        type='ClsDataPreprocessor'),
    head=dict(in_channels=64, num_classes=10, type='LinearClsHead'),
    neck=dict(type='GlobalAveragePooling'),
    type='ImageClassifier')
test_cfg = dict()
test_dataloader = dict(
    batch_size=64,
    dataset=dict(
        data_root='images',
        metainfo=dict(classes=[
            'airplane',
            'automobile',
            'bird',
            'cat',
            'deer',
            'dog',
            'frog',
            'horse',
            'ship',
            'truck',
        ]),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(scale=(
                32,
                32,
            ), type='Resize'),
            dict(type='PackInputs'),
        ],
        test_mode=True,
        type='CustomDataset'),
    num_workers=0,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(topk=(1, ), type='Accuracy')
