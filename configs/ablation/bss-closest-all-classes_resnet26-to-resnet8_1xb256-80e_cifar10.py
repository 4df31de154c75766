# samples on the boundaries to all target classes of p_k > 0.01, weighted by p_k
_base_ = '../bss/bss-closest_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(boundary=dict(target_class='all', min_target_probability=0.01))
