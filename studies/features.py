"""ResNet8 and losses on features beside KD, as in table 1 of Heo et al. (2019); FSP with BSS too.

Published are 86.73 with FitNet's hints, 86.86 with attention transfer and 87.07 with FSP, beside
86.66 with KD. `kd` and `bss` are those of table_1: their results are those of the same runs. The
papers of FitNet and FSP train in two stages, here it is one. The test set is looked at once, after
the last epoch.
"""

_base_ = './_base_/cifar10.py'

question = 'What do losses on features add to KD, and boundary samples to FSP?'

common = {
    'train_cfg.val_interval': 80,
    'model.acceleration.winograd': '4x4',
    'model.teacher.acceleration.winograd': '4x2',
}
arms = {
    _method: dict(config=f'configs/{_folder}/{_method}_resnet26-to-resnet8_1xb256-80e_cifar10.py')
    for _method, _folder in (
        ('fitnet', 'fitnet'),
        ('at', 'at'),
        ('fsp', 'fsp'),
        ('fsp-bss', 'fsp'),
        ('kd', 'kd'),
        ('bss', 'bss'),
    )
}
seeds = [0, 1, 2]
contrast = ('fsp-bss', 'fsp')
secondary = [('fitnet', 'kd'), ('at', 'kd'), ('fsp', 'kd'), ('fsp-bss', 'bss')]
