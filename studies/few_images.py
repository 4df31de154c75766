"""Stage 3: few images, and a training so long that a student of labels alone overfits.

Every student sees as many batches of 64, whatever the number of images.
"""

_base_ = './_base_/cifar10_5000_fast.py'

question = 'With how many images a class do boundaries between images pay, and for which student?'

LABELS = 'configs/baseline/resnet8_1xb256-80e_cifar10.py'
# the best of stage 0; see results/baselines.md
BASELINE = 'configs/dkd/dkd_resnet26-to-resnet8_1xb256-80e_cifar10.py'
_baseline = {
    'optim_wrapper.clip_grad.max_norm': 5.0,
    'model.acceleration.winograd': '4x4',
    'model.teacher.acceleration.winograd': '4x2',
}
# the best boundary samples of stage 2 after its first seeds, here searched for by the logits, which
# ends closer to the boundary, and random mixes of the same share; see results/where_on_the_line.md
_term = dict(_base_.BOUNDARY_TERM, share=0.1)
_segment, _random_mix = (
    {**_baseline, 'model.losses.loss_bss': dict(_term, attack=dict(type=f'mmbss.{_attack}'))}
    for _attack in ('SegmentAttack', 'RandomMixAttack')
)
_methods = {
    'labels': (LABELS, {}),
    'baseline': (BASELINE, _baseline),
    'segment': (BASELINE, _segment),
    'random-mix': (BASELINE, _random_mix),
}
_depths = {'resnet8': 8, 'resnet20': 20}
# images a class, and epochs of as many iterations
_epochs = {10: 1580, 50: 395, 100: 198, 500: 40}

# all training images are drawn from, so that a class has as many as it says
common = {'train_dataloader.dataset.dataset.indices': 50000}
_cells = [(_student, _images) for _student in _depths for _images in _epochs]
CONTRAST = ('resnet20', 100)
# all were planned with eight; beside the contrast, which has them, the first look was the last, and
# of labels alone two are enough to see that they overfit
SEEDS, LABELS_SEEDS = 4, 2
arms = {
    f'{_student}-{_images}-{_method}': dict(
        config=_methods[_method][0],
        options={
            'model.backbone.depth': _depths[_student],
            'train_dataloader.dataset.fraction': _images / 5000,
            'train_cfg.max_epochs': _epochs[_images],
            'train_cfg.val_interval': _epochs[_images],
            'param_scheduler.milestones': [_epochs[_images] // 2, _epochs[_images] * 3 // 4],
            'default_hooks.checkpoint.interval': max(_epochs[_images] // 4, 1),
            **_methods[_method][1],
        },
        seeds=LABELS_SEEDS
        if _method == 'labels'
        else (None if (_student, _images) == CONTRAST else SEEDS),
    )
    for _student, _images in _cells
    for _method in _methods
}
contrast = ('resnet20-100-segment', 'resnet20-100-baseline')
looks = [4, 8]
secondary = [
    (f'{_student}-{_images}-segment', f'{_student}-{_images}-{_method}')
    for _student, _images in _cells
    for _method in ('baseline', 'random-mix')
]
