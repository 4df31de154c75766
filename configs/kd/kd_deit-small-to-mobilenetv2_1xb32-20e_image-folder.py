# Distil the fine-tuned ViT into a MobileNetV2 that starts from ImageNet weights.
# Set num_classes of the heads, here and of the teacher's config, to the number of your classes.
_base_ = './kd_resnet50-to-mobilenetv2_1xb32-20e_image-folder.py'

model = dict(
    teacher=dict(
        config='mmbss::baseline/deit-small_1xb32-20e_image-folder.py',
        checkpoint='work_dirs/deit-small_1xb32-20e_image-folder/epoch_20.pth',
    ),
)
