# KD and boundary samples: what kd_deit-small-to-mobilenetv2 says holds here too
_base_ = './bss_resnet50-to-mobilenetv2_1xb32-20e_image-folder.py'

model = dict(
    teacher=dict(
        config='mmbss::baseline/deit-small_1xb32-20e_image-folder.py',
        checkpoint='work_dirs/deit-small_1xb32-20e_image-folder/epoch_20.pth',
    ),
)
