# Distil the fine-tuned ResNet50 into a student from timm.
# Set num_classes of the heads, here and of the teacher's config, to the number of your classes.
_base_ = [
    '../baseline/timm-resnet18_1xb32-20e_image-folder.py',
    '../_base_/schedules/published_weights.py',
]

model = dict(
    type='mmbss.Distiller',
    teacher=dict(
        config='mmbss::baseline/resnet50_1xb32-20e_image-folder.py',
        checkpoint='work_dirs/resnet50_1xb32-20e_image-folder/epoch_20.pth',
    ),
    losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=3.0)),
)

default_hooks = dict(
    bss=dict(type='mmbss.BSSHook', schedules=dict(loss_kd=_base_.published_weights.loss_kd)),
)
