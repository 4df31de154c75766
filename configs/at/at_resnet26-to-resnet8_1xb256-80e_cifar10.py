# Hinton KD + attention transfer (Zagoruyko and Komodakis 2017) after each stage
_base_ = '../kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'

stages = ['backbone.layer1', 'backbone.layer2', 'backbone.layer3']

model = dict(
    losses=dict(
        loss_at=dict(
            type='mmbss.AttentionLoss',
            student=stages,
            teacher=stages,
            # the paper's: 1000 divided by the number of elements of a map and of samples, which
            # is what the mean over both does
            loss_weight=1000.0,
        ),
    ),
)
