# Papernot et al. 2016: conv 32, 32, pool, 64, 64, pool, fully connected 200, 200, 10
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmbss.ConvNet'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=200),
)
