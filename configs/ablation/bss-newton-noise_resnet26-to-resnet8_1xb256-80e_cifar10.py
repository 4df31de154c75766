# a control: random perturbations, each as long as that of the damped Newton step
_base_ = './bss-noise_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(attack=dict(attack=dict(step='newton', step_size=0.85, overshoot=0.05))))
