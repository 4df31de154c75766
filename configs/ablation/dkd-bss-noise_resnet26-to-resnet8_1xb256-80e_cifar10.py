# a control beside DKD: random perturbations, each as long as that of the damped Newton step
_base_ = '../dkd/dkd-bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    boundary=dict(
        attack=dict(
            _delete_=True,
            type='mmbss.RandomNoiseAttack',
            attack=dict(
                type='mmbss.BSSAttack',
                num_steps=10,
                step='newton',
                step_size=0.85,
                overshoot=0.05,
            ),
        ),
    ),
)
