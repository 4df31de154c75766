# The loss weights of Heo et al. 2019: alpha of L_KD falls from 4 to 1 over the training, beta of
# L_BS from 2 to 0 at 75 % of it. A config hands them to its hook; whoever inherits from that config
# changes default_hooks.bss.schedules.
published_weights = dict(
    loss_kd=dict(start=4.0, end=1.0),
    loss_bss=dict(start=2.0, end=0.0, until=0.75),
)
