# Hinton KD + hint (Romero et al. 2015) in the middle of the networks, in one stage of training
_base_ = '../kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    losses=dict(
        loss_hint=dict(
            type='mmbss.HintLoss',
            student='backbone.layer2',
            teacher='backbone.layer2',
            student_channels=32,
            teacher_channels=32,
            # the paper trains on hints before it distils, so it has no weight for both at once;
            # with 1 the term is of the order of loss_cls at the start
            loss_weight=1.0,
        ),
    ),
)
