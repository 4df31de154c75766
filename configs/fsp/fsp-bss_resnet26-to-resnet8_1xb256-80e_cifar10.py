# BSS (Heo et al. 2019) + FSP matrices (Yim et al. 2017), which the BSS paper combines
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

# what goes into a stage and what comes out
stages = [
    ('backbone.layer1:input', 'backbone.layer1'),
    ('backbone.layer2:input', 'backbone.layer2'),
    ('backbone.layer3:input', 'backbone.layer3'),
]

model = dict(
    losses=dict(
        loss_fsp=dict(type='mmbss.FSPLoss', student=stages, teacher=stages, loss_weight=1.0),
    ),
)
