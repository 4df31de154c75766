# beside tuned KD, boundary samples with the weight of Heo et al.: beta from 2 to 0 at 75 %
_base_ = [
    '../kd/kd-t4_resnet26-w64-to-resnet8-w64_1xb128-40e_imagenet32.py',
    '../_base_/losses/published_bss.py',
    '../_base_/schedules/published_weights.py',
]

model = dict(losses=dict(loss_bss=dict(_base_.published_bss, num_base_samples=32)))
default_hooks = dict(
    bss=dict(type='mmbss.BSSHook', schedules=dict(loss_bss=_base_.published_weights.loss_bss)),
)
