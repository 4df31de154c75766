"""All 50,000 images and the published 80 epochs: what the studies with fewer images say is best.

`kd` is that of table_1: its results are those of the same runs. `closest` is the published recipe
with samples that end on the boundary, `dkd` the best baseline of baselines, and `segment` adds to
it the boundary between two images as few_images does.
"""

_base_ = './_base_/cifar10.py'

question = 'With all images of CIFAR-10, does the boundary between two images add to DKD?'

_resnets = 'resnet26-to-resnet8_1xb256-80e_cifar10.py'
_clipped = {'optim_wrapper.clip_grad.max_norm': 5.0}

common = {
    'train_cfg.val_interval': 80,
    'model.acceleration.winograd': '4x4',
    'model.teacher.acceleration.winograd': '4x2',
}
arms = {
    'dkd': dict(config=f'configs/dkd/dkd_{_resnets}', options=_clipped),
    'segment': dict(config=f'configs/dkd/dkd-bss-segment_{_resnets}'),
    'closest': dict(config=f'configs/bss/bss-closest_{_resnets}'),
    'kd': dict(config=f'configs/kd/kd_{_resnets}'),
}
seeds = [0, 1, 2]
contrast = ('segment', 'dkd')
secondary = [('closest', 'kd'), ('dkd', 'kd')]
