custom_imports = dict(imports=['mmbss'])
default_scope = 'mmpretrain'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # the last three epochs and the best one; the last is what results are reported on
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3, save_best='auto'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # several processes: average BatchNorm statistics at the end of an epoch
    sync_buffers=dict(type='SyncBuffersHook'),
    # for metrics that ask the model itself, such as mmbss.BoundarySimilarity
    model_metrics=dict(type='mmbss.ModelMetricHook'),
    visualization=dict(type='VisualizationHook', enable=False),
)

env_cfg = dict(
    # True would time the algorithms anew for each number of samples, of which attacks have many
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])

log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=None, deterministic=False)
