# tuned KD, and the same loss where the teacher's boundary lies between two images of the batch
_base_ = '../kd/kd-t4_resnet14-to-resnet8-w2_1xb64-15e_digits-unlabelled.py'

model = dict(
    losses=dict(
        loss_bss=dict(
            type='mmbss.BoundaryLoss',
            attack=dict(type='mmbss.SegmentAttack'),
            base_class='teacher',
            candidates='teacher_correct',
            batch_share=0.25,
            loss=dict(type='mmbss.KDLoss', temperature=4.0, scale_by_t2=True),
            # a quarter of the 0.9 of loss_kd: each boundary sample weighs as much as a clean one
            loss_weight=0.225,
        ),
    ),
)
