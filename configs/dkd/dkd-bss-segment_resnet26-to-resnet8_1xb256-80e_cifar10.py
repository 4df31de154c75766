# DKD beside the teacher's boundary between two images of the batch, which gets a tenth of the
# gradient at the student's logits; clipped, as studies/few_images.py trains both
_base_ = ['./dkd_resnet26-to-resnet8_1xb256-80e_cifar10.py', '../_base_/losses/segment.py']

_segment = {**_base_.segment_term, 'share': 0.1}
_segment.pop('loss_weight')  # the share says it
model = dict(losses=dict(loss_bss=_segment))

optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
