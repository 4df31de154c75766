# ImageNet at 32 x 32 pixels in memory, 4 GB. Unpack the published files into data/imagenet32, then
# once:
#   python tools/dataset_to_npz.py mmbss.DownsampledImageNet data/imagenet32
data_preprocessor = dict(
    type='mmbss.AugmentingDataPreprocessor',
    num_classes=1000,
    # of ImageNet, RGB, in pixels of [0, 255]
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=False,  # the arrays are RGB already
    crop_padding=4,
    flip_probability=0.5,
)

train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    dataset=dict(type='mmbss.ArrayDataset', data_file='data/imagenet32/train.npz'),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(type='mmbss.ArrayDataset', data_file='data/imagenet32/val.npz', test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
