"""The second row of table 1 of Heo et al. (2019), ResNet14, and a ResNet20, which no table holds.

As in table_1; published for ResNet14 are 89.11 with labels alone, 89.75 with KD and 90.34 with
boundary samples. The test set is looked at once, after the last epoch.
"""

_base_ = './_base_/cifar10.py'

question = 'Does the published recipe give larger students what it gives ResNet8?'

common = {'train_cfg.val_interval': 80}
_taught = {'model.acceleration.winograd': '4x4', 'model.teacher.acceleration.winograd': '4x2'}
_students = ('resnet14', 'resnet20')
_files = {
    'labels': 'configs/baseline/{}_1xb256-80e_cifar10.py',
    'kd': 'configs/kd/kd_resnet26-to-{}_1xb256-80e_cifar10.py',
    'bss': 'configs/bss/bss_resnet26-to-{}_1xb256-80e_cifar10.py',
}
arms = {
    f'{_method}-{_student}': dict(
        config=_file.format(_student), options={} if _method == 'labels' else _taught
    )
    for _student in _students
    for _method, _file in _files.items()
}
seeds = [0, 1, 2]
contrast = ('bss-resnet14', 'kd-resnet14')
secondary = [
    (f'{_one}-{_student}', f'{_other}-{_student}')
    for _student in _students
    for _one, _other in (('bss', 'kd'), ('kd', 'labels'), ('bss', 'labels'))
]
