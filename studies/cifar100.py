"""CIFAR-100 by the recipes of CIFAR-10: 80 epochs in batches of 256, ResNet26 teaches ResNet8.

A ResNet26 is trained first. Nothing was chosen on CIFAR-100: each arm is that of table_1 or
all_images with other data. The field's own recipe, ResNet56 to ResNet20 in 240 epochs, is in
docs/tutorials/cifar100.md. The test set is looked at once, after the last epoch.
"""

question = 'With 100 classes, does the boundary between two images add to DKD?'

teacher = 'configs/baseline/resnet26_1xb256-80e_cifar100.py'
_resnets = 'resnet26-to-resnet8_1xb256-80e_cifar10.py'
_checkpoint = 'work_dirs/resnet26_1xb256-80e_cifar100/epoch_80.pth'
_data = dict(
    mean=[129.304, 124.070, 112.434],
    std=[68.170, 65.392, 70.418],
    num_classes=100,
)
common = {
    'train_cfg.val_interval': 80,
    'model.head.num_classes': 100,
    **{f'data_preprocessor.{_key}': _value for _key, _value in _data.items()},
    'train_dataloader.dataset.dataset.data_file': 'data/cifar100/train.npz',
    'val_dataloader.dataset.data_file': 'data/cifar100/test.npz',
    'test_dataloader.dataset.data_file': 'data/cifar100/test.npz',
}
_taught = {
    'model.teacher.config': 'mmbss::baseline/resnet26_1xb256-80e_cifar100.py',
    'model.teacher.checkpoint': _checkpoint,
    'model.acceleration.winograd': '4x4',
    'model.teacher.acceleration.winograd': '4x2',
}
arms = {
    'labels': dict(config='configs/baseline/resnet8_1xb256-80e_cifar10.py'),
    'kd': dict(config=f'configs/kd/kd_{_resnets}', options=_taught),
    'bss': dict(config=f'configs/bss/bss_{_resnets}', options=_taught),
    'dkd': dict(
        config=f'configs/dkd/dkd_{_resnets}',
        options={**_taught, 'optim_wrapper.clip_grad.max_norm': 5.0},
    ),
    'segment': dict(config=f'configs/dkd/dkd-bss-segment_{_resnets}', options=_taught),
}
seeds = [0, 1, 2]
contrast = ('segment', 'dkd')
secondary = [('bss', 'kd'), ('dkd', 'kd'), ('kd', 'labels')]
margin = 0.5
_asked = dict(config=_taught['model.teacher.config'], checkpoint=_checkpoint)
evaluators = [
    dict(type='mmbss.Agreement', teacher=_asked),
    dict(type='mmbss.CalibrationError'),
    dict(type='mmbss.CorruptionAccuracy', num_samples=2000),
]
