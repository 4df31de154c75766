# FGSM in the place of the published attack
_base_ = '../bss/bss_resnet26-to-resnet8_1xb256-80e_cifar10.py'

model = dict(
    boundary=dict(
        # about as far in L2 as the published attack goes
        attack=dict(_delete_=True, type='mmbss.FGSMAttack', radius=4.0),
        # the radius is in pixels, which are read off the pixel bounds
        bounds=None,
    ),
)
