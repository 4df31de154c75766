"""The figure of Heo et al. (2019): ResNet8 with 80, 60, 40 and 20 % of CIFAR-10.

As in table_1, which holds 100 %, but that fewer images make fewer iterations of the same 80 epochs;
published is that the gain over labels alone grows as the images become fewer. Every seed draws its
own images, as many of each class. The test set is looked at once, after the last epoch.
"""

_base_ = './_base_/cifar10.py'

question = 'Is the published recipe worth more with fewer images?'

LABELS = 'configs/baseline/resnet8_1xb256-80e_cifar10.py'
KD = 'configs/kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'
BSS = 'configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

common = {'train_cfg.val_interval': 80}
_fast = {'model.acceleration.winograd': '4x4', 'model.teacher.acceleration.winograd': '4x2'}
_methods = {'labels': (LABELS, {}), 'kd': (KD, _fast), 'bss': (BSS, _fast)}
_percents = (20, 40, 60, 80)
arms = {
    f'{_name}-{_percent}': dict(
        config=_config,
        options={**_options, 'train_dataloader.dataset.fraction': _percent / 100},
    )
    for _percent in _percents
    for _name, (_config, _options) in _methods.items()
}
seeds = [0, 1, 2]
seed_keys = ['train_dataloader.dataset.seed']
contrast = ('bss-20', 'kd-20')
secondary = [
    (f'{_one}-{_percent}', f'{_other}-{_percent}')
    for _percent in _percents
    for _one, _other in (('bss', 'kd'), ('kd', 'labels'), ('bss', 'labels'))
]
evaluators = [
    dict(type='mmbss.Agreement', teacher=_base_.evaluators[0].teacher),
    dict(type='mmbss.CalibrationError'),
]
