"""Stage 2: the best student of stage 0 learns at a quarter as many further samples, too.

They lie on the teacher's boundary close to an image, or on the line between two images: anywhere,
on the boundary, around it, where the teacher is least sure, or where both disagree most.
"""

_base_ = './_base_/cifar10_5000_fast.py'

question = 'Where on the line between two images are samples worth most?'

# the best of stage 0; see results/baselines.md
BASELINE = 'configs/dkd/dkd_resnet26-to-resnet8_1xb256-80e_cifar10.py'
common = {
    'optim_wrapper.clip_grad.max_norm': 5.0,
    'model.acceleration.winograd': '4x4',
    'model.teacher.acceleration.winograd': '4x2',
}

# shares of the gradient at the student's logits
LOW, HIGH = 0.1, 0.3
_attacks = {
    'closest': dict(type='mmbss.ClosestAttack'),
    'random-mix': dict(type='mmbss.RandomMixAttack'),
    'segment': dict(type='mmbss.SegmentAttack', by='decisions'),
    'near': dict(type='mmbss.SegmentAttack', spread=0.1, by='decisions'),
    'entropy': dict(type='mmbss.ChosenMixAttack', by='entropy'),
    'disagreement': dict(type='mmbss.ChosenMixAttack', by='disagreement'),
}
_settings = [(_name, HIGH) for _name in _attacks]
_settings += [(_name, LOW) for _name in ('closest', 'random-mix', 'segment')]
CONTRAST = [('segment', HIGH), ('random-mix', HIGH)]
# all were planned with eight; what is beside the contrast ended with its first look
SEEDS = 4
arms = {
    'baseline': dict(config=BASELINE, seeds=SEEDS),
    **{
        f'{_name}-{_share}': dict(
            config=BASELINE,
            options={
                'model.losses.loss_bss': dict(_base_.BOUNDARY_TERM, attack=_attack, share=_share)
            },
            seeds=None if (_name, _share) in CONTRAST else SEEDS,
        )
        for _name, _share in _settings
        for _attack in [_attacks[_name]]
    },
}
contrast = ('segment-0.3', 'random-mix-0.3')
looks = [4, 8]
secondary = [
    *((_name, 'baseline') for _name in arms if _name != 'baseline'),
    *((f'{_name}-0.3', 'random-mix-0.3') for _name in ('near', 'entropy', 'disagreement')),
    ('segment-0.1', 'random-mix-0.1'),
]
