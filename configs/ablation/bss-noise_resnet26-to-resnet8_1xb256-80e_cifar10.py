# a control: random perturbations, each as long as that of the published attack
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    boundary=dict(
        attack=dict(
            _delete_=True,
            type='mmbss.RandomNoiseAttack',
            attack=dict(type='mmbss.BSSAttack', num_steps=10, step_size=0.3, overshoot=1e-4),
        ),
    ),
)
