# plain distillation as it is commonly tuned: 0.1 L_cls + 0.9 T^2 L_KD at T = 4, constant weights
_base_ = '../baseline/resnet8-w2_1xb64-300e_digits-few.py'

model = dict(
    type='mmbss.Distiller',
    head=dict(loss=dict(type='CrossEntropyLoss', loss_weight=0.1)),
    teacher=dict(
        config='mmbss::baseline/resnet14_1xb64-30e_digits.py',
        checkpoint='work_dirs/resnet14_1xb64-30e_digits/epoch_30.pth',
    ),
    losses=dict(
        loss_kd=dict(type='mmbss.KDLoss', temperature=4.0, scale_by_t2=True, loss_weight=0.9),
    ),
)
