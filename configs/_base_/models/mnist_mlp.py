# 784-800-800-10 for 28 x 28 grey images (1,276,810 parameters)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmbss.MLP', in_features=784, hidden=(800, 800)),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=800),
)
