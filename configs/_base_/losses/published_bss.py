# the boundary samples of Heo et al. 2019, as the paper has them: accepted ones within the pixels
published_bss = dict(
    type='mmbss.BoundaryLoss',
    attack=dict(type='mmbss.BSSAttack'),
    num_base_samples=64,  # a quarter of the batch
    loss=dict(type='mmbss.KDLoss', temperature=3.0),
)
