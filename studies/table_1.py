"""Table 1 of Heo et al. (2019), ResNet8: labels alone, KD and the published boundary samples.

All 50,000 images, the published 80 epochs, the authors' ResNet26; published 86.02, 86.66 and 87.32.
The test set is looked at once, after the last epoch.
"""

_base_ = './_base_/cifar10.py'

question = 'Does the published recipe give what Heo et al. (2019) published for ResNet8?'

LABELS = 'configs/baseline/resnet8_1xb256-80e_cifar10.py'
KD = 'configs/kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'
BSS = 'configs/bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

# everything else as the configs have it
common = {'train_cfg.val_interval': 80}
_student = {'model.acceleration.winograd': '4x4'}
_both = {**_student, 'model.teacher.acceleration.winograd': '4x2'}
arms = {
    'labels': dict(config=LABELS),
    'kd': dict(config=KD, options=_both),
    'bss': dict(config=BSS, options=_both),
}
seeds = [0, 1, 2]
contrast = ('bss', 'kd')
secondary = [('kd', 'labels'), ('bss', 'labels')]
