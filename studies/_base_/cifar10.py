"""What studies on CIFAR-10 share: the authors' ResNet26 teaches, and these metrics are asked.

The test set is looked at once, after the last epoch.
"""

_teacher = dict(
    config='mmbss::baseline/resnet26_1xb256-80e_cifar10.py',
    checkpoint='work_dirs/resnet26_1xb256-80e_cifar10/epoch_80.pth',
)

margin = 0.5
evaluators = [
    dict(type='mmbss.Agreement', teacher=_teacher),
    dict(type='mmbss.CalibrationError'),
    dict(type='mmbss.TransitionError', teacher=_teacher, num_samples=500, num_targets=3),
    dict(type='mmbss.CorruptionAccuracy', num_samples=2000),
]
