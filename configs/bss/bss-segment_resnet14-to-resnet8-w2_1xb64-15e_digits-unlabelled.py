# tuned KD, and the same loss where the teacher's boundary lies between two images of the batch
_base_ = [
    '../kd/kd-t4_resnet14-to-resnet8-w2_1xb64-15e_digits-unlabelled.py',
    '../_base_/losses/segment.py',
]

model = dict(losses=dict(loss_bss=_base_.segment_term))
