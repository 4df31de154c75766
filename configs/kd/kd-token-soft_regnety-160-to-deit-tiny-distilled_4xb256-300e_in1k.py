# eq. 2 of Touvron et al.: 0.9 L_cls of the class token + 0.1 T^2 L_KD of the other one at T = 3
_base_ = './kd-token-hard_regnety-160-to-deit-tiny-distilled_4xb256-300e_in1k.py'

model = dict(
    head=dict(loss=dict(loss_weight=0.9)),
    losses=dict(
        loss_token=dict(
            _delete_=True,
            type='mmbss.KDLoss',
            student_logits='token',
            temperature=3.0,
            scale_by_t2=True,
            loss_weight=0.1,
        ),
    ),
)
