# 0.5 L_cls + 0.5 L_KD at T = 1, as plain distillation is commonly run on ImageNet. The teacher has
# torchvision's weights (73.3 % top-1). OpenMMLab's instead:
#   config='mmpretrain::resnet/resnet34_8xb32_in1k.py',
#   checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/'
#   'resnet34_8xb32_in1k_20210831-f257d4e6.pth'
_base_ = '../baseline/resnet18_8xb32-100e_in1k.py'

model = dict(
    type='mmbss.Distiller',
    head=dict(loss=dict(loss_weight=0.5)),
    teacher=dict(config='torchvision:resnet34'),
    losses=dict(loss_kd=dict(type='mmbss.KDLoss', temperature=1.0, loss_weight=0.5)),
)
