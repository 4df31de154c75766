"""Stage 1: what samples on the boundary, close to their base samples, do to a student.

The student hardly sees them, so they may be no more than another weight on the classes that the
label does not name. Then the teacher's logits there do as well with the clean image (C1), the
samples with the teacher's clean logits do nothing (C2), and DKD with the same gradients at the
start does as well without any (C3).
"""

_base_ = './_base_/cifar10_5000.py'

question = 'Is learning at adversarial boundary samples more than another weight of the classes?'

KD = 'configs/kd/kd_resnet26-to-resnet8_1xb256-80e_cifar10.py'
KD_T4 = 'configs/kd/kd-t4_resnet26-to-resnet8_1xb256-80e_cifar10.py'
CLOSEST = 'configs/bss/bss-closest_resnet26-to-resnet8_1xb256-80e_cifar10.py'
MATCHED = 'configs/dkd/dkd-matched_resnet26-to-resnet8_1xb256-80e_cifar10.py'

common = {'model.acceleration.winograd': '4x4', 'model.teacher.acceleration.winograd': '4x2'}
# a quarter of the batch is attacked, as published
_closest = {'model.losses.loss_bss.num_base_samples': 16}
# all were planned with eight; what is beside the contrast ended with its first look
seeds = [0, 1, 2, 4, 3, 5, 6, 7]  # in the order in which they were run
SEEDS = 4
arms = {
    'kd': dict(config=KD),
    'kd-t4': dict(config=KD_T4, seeds=SEEDS),
    'closest': dict(config=CLOSEST, options=_closest),
    'clean-input': dict(
        config=CLOSEST,
        options={**_closest, 'model.losses.loss_bss.student_input': 'base'},
        seeds=SEEDS,
    ),
    'clean-answer': dict(
        config=CLOSEST,
        options={**_closest, 'model.losses.loss_bss.teacher_answer': 'base'},
        seeds=SEEDS,
    ),
    'dkd-matched': dict(config=MATCHED, seeds=SEEDS),
}
# kd and closest differ in the boundary term alone
contrast = ('closest', 'kd')
# planned when the contrast had two pairs
looks = [4, 8]
secondary = [
    ('closest', 'clean-input'),
    ('closest', 'clean-answer'),
    ('closest', 'dkd-matched'),
    ('closest', 'kd-t4'),
    ('clean-input', 'kd'),
    ('dkd-matched', 'kd'),
]
