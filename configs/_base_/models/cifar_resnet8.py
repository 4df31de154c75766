# ResNet8 for 32 x 32 colour images (75,290 parameters); other depths: 14, 20, 26
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmbss.CIFARResNet', depth=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=64),
)
