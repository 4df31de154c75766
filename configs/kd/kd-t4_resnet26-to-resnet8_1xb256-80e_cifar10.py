# plain distillation as it is commonly tuned: 0.1 L_cls + 0.9 T^2 L_KD at T = 4, constant weights
_base_ = './kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    head=dict(loss=dict(type='CrossEntropyLoss', loss_weight=0.1)),
    losses=dict(loss_kd=dict(temperature=4.0, scale_by_t2=True, loss_weight=0.9)),
)

default_hooks = dict(bss=dict(schedules=None))
