# the published recipe with the sum over the target classes of p_k > 0.01 instead of a draw
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(target_class='all', min_target_probability=0.01))
