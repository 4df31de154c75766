# the teacher's boundary between two images of the batch, beside KD at T = 4
segment_term = dict(
    type='mmbss.BoundaryLoss',
    attack=dict(type='mmbss.SegmentAttack'),
    base_class='teacher',
    candidates='teacher_correct',
    batch_share=0.25,
    loss=dict(type='mmbss.KDLoss', temperature=4.0, scale_by_t2=True),
    # a quarter of the 0.9 of loss_kd: each boundary sample weighs as much as a clean one
    loss_weight=0.225,
)
