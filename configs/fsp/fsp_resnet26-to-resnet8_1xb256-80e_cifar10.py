# Hinton KD + FSP matrices (Yim et al. 2017) of each stage, in one stage of training
_base_ = '../kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'

# what goes into a stage and what comes out
stages = [
    ('backbone.layer1:input', 'backbone.layer1'),
    ('backbone.layer2:input', 'backbone.layer2'),
    ('backbone.layer3:input', 'backbone.layer3'),
]

model = dict(
    losses=dict(
        loss_fsp=dict(
            type='mmbss.FSPLoss',
            student=stages,
            teacher=stages,
            # the paper gives none; with 1 the term is of the order of loss_cls at the start
            loss_weight=1.0,
        ),
    ),
)
